// An agent in Go, linked statically: goroutines ask the model over TLS while a ticker runs and processes are started.
//
//	agent URL CA
package main

import (
	"bufio"
	"bytes"
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"math/rand"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
)

func chance() string {
	random := make([]byte, 4)
	crand.Read(random)
	here := new(int)
	return fmt.Sprintf("[%d pid %d %s %d at %p]", time.Now().UnixNano(), os.Getpid(), hex.EncodeToString(random), rand.Int63(), here)
}

type chunk struct {
	Choices []struct {
		Delta struct{ Content string }
	}
}

func ask(client *http.Client, url string, number int) (string, error) {
	body, _ := json.Marshal(map[string]any{
		"model": "talker", "stream": true,
		"messages": []map[string]string{{"role": "user", "content": fmt.Sprintf("question %d %s", number, chance())}},
	})
	request, err := http.NewRequestWithContext(context.Background(), "POST", url+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer sk-local-demo")
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var text strings.Builder
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		var piece chunk
		if data, found := strings.CutPrefix(lines.Text(), "data: {"); found && json.Unmarshal([]byte("{"+data), &piece) == nil {
			text.WriteString(piece.Choices[0].Delta.Content)
		}
	}
	return text.String(), lines.Err()
}

func date() (string, error) {
	out, err := exec.Command("date", "+%s.%N").CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func main() {
	authority, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: time.Minute}

	answers := make(chan string)
	var group sync.WaitGroup
	start := func(name string, work func() (string, error)) {
		group.Add(1)
		go func() {
			defer group.Done()
			text, err := work()
			answers <- fmt.Sprintf("%s: %s %v", name, text, err)
		}()
	}
	for number := 0; number < 5; number++ {
		start(fmt.Sprint(number), func() (string, error) { return ask(client, os.Args[1], number) })
	}
	start("date", date)
	go func() { group.Wait(); close(answers) }()

	ticker := time.NewTicker(3 * time.Millisecond)
	ticks, seen := 0, map[string]int{}
	for open := true; open; {
		select {
		case text, more := <-answers:
			if open = more; more {
				seen[text] = len(seen)
				fmt.Println(ticks, text)
			}
		case <-ticker.C:
			ticks++
		}
	}
	for text, place := range seen {
		fmt.Println("in the map's order:", place, len(text))
	}
	runtime.GC()
	fmt.Println(ticks, chance())
}
