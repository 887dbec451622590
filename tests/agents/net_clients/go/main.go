// Go's net/http with its own resolver and its own reading of the system's certificates: HTTP/1.1, HTTP/2, and goroutines side by side.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
)

func get(url string) (string, string) {
	response, err := http.Get(url)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.Proto, string(body)
}

func main() {
	for _, host := range []string{"api", "h2"} {
		version, body := get("https://" + host + ".test/hello")
		fmt.Print(version, " ", body)
	}
	var all sync.Map
	var group sync.WaitGroup
	for number := 0; number < 8; number++ {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			_, body := get(fmt.Sprintf("https://api.test/hello?%d", number))
			all.Store(body, true)
		}(number)
	}
	group.Wait()
	count := 0
	all.Range(func(any, any) bool { count++; return true })
	fmt.Println(count)
}
