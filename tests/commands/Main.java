import java.util.concurrent.*;

public class Main {
    public static void main(String[] arguments) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        long sum = 0;
        for (Future<Integer> part : pool.invokeAll(java.util.Collections.nCopies(20, () -> 21)))
            sum += part.get();
        pool.shutdown();
        System.out.println("sum " + sum);
        Process child = new ProcessBuilder("echo", "child").start();
        System.out.println(new String(child.getInputStream().readAllBytes()).trim() + " " + child.waitFor());
        System.gc();
        Thread.sleep(20);
        System.exit(3);
    }
}
