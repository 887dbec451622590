import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** Java's HttpClient, which trusts what is in cacerts: HTTP/1.1 and HTTP/2, as the server chooses. */
public class Net {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (String host : new String[] {"api", "h2"}) {
            HttpRequest request = HttpRequest.newBuilder(URI.create("https://" + host + ".test/hello")).build();
            System.out.print(client.send(request, HttpResponse.BodyHandlers.ofString()).body());
        }
    }
}
