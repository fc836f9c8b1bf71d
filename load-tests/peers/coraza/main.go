// Runs a workload through Coraza and tells the CPU time of each scenario.
//
//	coraza RULES WORKLOAD SECONDS
//
// The workload's format is that of load-tests/src/waf/workload.rs; the answer is a line
// of JSON for each scenario. The time is that of the process, its garbage collector
// included.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types"
)

type request struct {
	method, uri, version string
	headers              [][2]string
	body                 []byte
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: coraza RULES WORKLOAD SECONDS")
	}
	seconds, err := strconv.ParseFloat(os.Args[3], 64)
	check(err)
	before := cpu()
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectivesFromFile(os.Args[1]))
	check(err)
	load := cpu() - before
	file, err := os.Open(os.Args[2])
	check(err)
	in := bufio.NewReaderSize(file, 1<<20)
	for {
		head, err := in.ReadString('\n')
		if err == io.EOF {
			return
		}
		check(err)
		var name string
		var count int
		_, err = fmt.Sscanf(head, "scenario %s %d", &name, &count)
		check(err)
		requests := make([]request, count)
		for i := range requests {
			requests[i] = read(in)
		}
		stopped := 0
		for _, request := range requests {
			if serve(waf, request) {
				stopped++
			}
		}
		served, began := 0, cpu()
		var spent time.Duration
		for spent.Seconds() < seconds {
			for _, request := range requests {
				serve(waf, request)
			}
			served += count
			spent = cpu() - began
		}
		fmt.Printf("{\"scenario\":%q,\"requests\":%d,\"cpu_seconds\":%.9f,\"stopped\":%d,\"of\":%d,\"load_seconds\":%.6f}\n",
			name, served, spent.Seconds(), stopped, count, load.Seconds())
	}
}

func read(in *bufio.Reader) request {
	var read request
	var headers, body int
	_, err := fmt.Sscanf(line(in), "request %s %s %d %d", &read.method, &read.version, &headers, &body)
	check(err)
	read.uri = line(in)
	for range headers {
		name, value, found := strings.Cut(line(in), ": ")
		if !found {
			log.Fatal("a header is cut")
		}
		read.headers = append(read.headers, [2]string{name, value})
	}
	read.body = make([]byte, body)
	_, err = io.ReadFull(in, read.body)
	check(err)
	line(in)
	return read
}

func line(in *bufio.Reader) string {
	text, err := in.ReadString('\n')
	check(err)
	return strings.TrimSuffix(text, "\n")
}

// One request through all phases, or as far as it gets.
func serve(waf coraza.WAF, request request) bool {
	tx := waf.NewTransaction()
	stopped := phases(tx, request)
	tx.ProcessLogging()
	check(tx.Close())
	return stopped
}

func phases(tx types.Transaction, request request) bool {
	tx.ProcessConnection("192.0.2.7", 40000, "127.0.0.1", 80)
	tx.ProcessURI(request.uri, request.method, request.version)
	for _, header := range request.headers {
		tx.AddRequestHeader(header[0], header[1])
		if header[0] == "Host" {
			tx.SetServerName(header[1])
		}
	}
	if tx.ProcessRequestHeaders() != nil {
		return true
	}
	if len(request.body) > 0 {
		stop, _, err := tx.WriteRequestBody(request.body)
		check(err)
		if stop != nil {
			return true
		}
	}
	stop, err := tx.ProcessRequestBody()
	check(err)
	if stop != nil {
		return true
	}
	tx.AddResponseHeader("Content-Type", "text/plain")
	if tx.ProcessResponseHeaders(200, "HTTP/1.1") != nil {
		return true
	}
	stop, err = tx.ProcessResponseBody()
	check(err)
	return stop != nil
}

func cpu() time.Duration {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
