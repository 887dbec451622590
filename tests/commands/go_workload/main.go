// What Go programs do: an HTTP server and client on loopback, goroutines and channels, the collector, children, files.
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"sort"
	"strings"
	"sync"
	"time"
)

func requests() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, strings.ToUpper(string(body)))
	}))
	defer server.Close()
	var answers []string
	var lock sync.Mutex
	var group sync.WaitGroup
	for i := 0; i < 10; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			response, err := http.Post(server.URL, "text/plain", strings.NewReader(fmt.Sprintf("question %d", i)))
			if err != nil {
				fmt.Println(err)
				return
			}
			defer response.Body.Close()
			body, _ := io.ReadAll(response.Body)
			lock.Lock()
			answers = append(answers, string(body))
			lock.Unlock()
		}(i)
	}
	group.Wait()
	sort.Strings(answers)
	fmt.Println(len(answers), answers[0], answers[9])
}

func goroutines() {
	work, results := make(chan int), make(chan int)
	for i := 0; i < 8; i++ {
		go func() {
			for n := range work {
				results <- n * n
			}
		}()
	}
	go func() {
		for i := 0; i < 500; i++ {
			work <- i
		}
		close(work)
	}()
	sum := 0
	for i := 0; i < 500; i++ {
		sum += <-results
	}
	fmt.Println("sum", sum)
	select {
	case <-work:
		fmt.Println("closed")
	case <-time.After(time.Second):
		fmt.Println("late")
	}
}

func garbage() {
	var kept [][]byte
	for i := 0; i < 2000; i++ {
		kept = append(kept, make([]byte, 10000))
		if i%500 == 0 {
			kept = nil
			runtime.GC()
		}
	}
	fmt.Println("collected", len(kept))
}

func children() {
	out, err := exec.Command("sh", "-c", "echo child; exit 3").Output()
	fmt.Printf("%q %v\n", out, err)
	sleeper := exec.Command("sleep", "30")
	_ = sleeper.Start()
	time.Sleep(300 * time.Millisecond) // until it sleeps: what it does before is the same each time
	_ = sleeper.Process.Kill()
	fmt.Println(sleeper.Wait())
	_ = os.WriteFile("go.txt", []byte("written"), 0o644)
	text, _ := os.ReadFile("go.txt")
	fmt.Println(string(text))
}

func main() {
	goroutines()
	requests()
	garbage()
	children()
	os.Exit(4)
}
