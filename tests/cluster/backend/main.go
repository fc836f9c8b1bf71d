// Command backend is an HTTP server for tests: it tells who it is and what it was asked.
//
//	GET /healthz            200, or 503 while it is turned off or the process ends
//	PUT /healthz/on, /off   turns readiness on or off
//	anything else           200 and a JSON object, see answer
//	  ?sleep=MS             answers after that time
//	  ?status=CODE          answers with that status
//	  ?bytes=N              appends N bytes of padding
//
// On SIGTERM it takes no new connections and finishes what it has, for up to --grace.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// answer is what the server tells.
type answer struct {
	Pod       string      `json:"pod"`
	Namespace string      `json:"namespace"`
	Node      string      `json:"node"`
	Version   string      `json:"version"`
	Remote    string      `json:"remote"`
	Protocol  string      `json:"protocol"`
	TLS       bool        `json:"tls"`
	Method    string      `json:"method"`
	Host      string      `json:"host"`
	Path      string      `json:"path"`
	Query     string      `json:"query"`
	Headers   http.Header `json:"headers"`
	Padding   string      `json:"padding,omitempty"`
}

// server is the state that requests share.
type server struct {
	identity answer
	ready    atomic.Bool
	ending   atomic.Bool
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "backend: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", ":8080", "address of the server")
	certificate := flag.String("tls-cert", "", "PEM file; with --tls-key the server speaks TLS")
	key := flag.String("tls-key", "", "PEM file")
	grace := flag.Duration("grace", 30*time.Second, "how long requests may take after SIGTERM")
	ignore := flag.Bool("ignore-sigterm", false, "go on after SIGTERM, as a program does that handles no signals as PID 1")
	unready := flag.Bool("unready", false, "start with readiness turned off")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("%q is not an option", flag.Arg(0))
	}
	if (*certificate == "") != (*key == "") {
		return errors.New("--tls-cert and --tls-key go together")
	}
	state := newServer()
	state.ready.Store(!*unready)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	web := &http.Server{Addr: *listen, Handler: state, ReadHeaderTimeout: 30 * time.Second}
	failed := make(chan error, 1)
	go func() {
		if *certificate != "" {
			failed <- web.ListenAndServeTLS(*certificate, *key)
		} else {
			failed <- web.ListenAndServe()
		}
	}()
	for {
		select {
		case err := <-failed:
			return err
		case <-signals:
			if *ignore {
				continue
			}
			state.ending.Store(true)
			ctx, cancel := context.WithTimeout(context.Background(), *grace)
			defer cancel()
			if err := web.Shutdown(ctx); err != nil {
				return fmt.Errorf("requests were not finished within %s: %w", *grace, err)
			}
			return nil
		}
	}
}

// newServer takes its identity from the variables by which a pod is told its own fields, and from the machine's name.
func newServer() *server {
	name := os.Getenv("POD_NAME")
	if name == "" {
		name, _ = os.Hostname()
	}
	return &server{identity: answer{
		Pod: name, Namespace: os.Getenv("POD_NAMESPACE"), Node: os.Getenv("NODE_NAME"), Version: os.Getenv("VERSION"),
	}}
}

func (s *server) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	if rest, ok := strings.CutPrefix(request.URL.Path, "/healthz"); ok {
		s.health(writer, request, rest)
		return
	}
	query := request.URL.Query()
	sleep, err := number(query.Get("sleep"), 0, 600_000)
	if err != nil {
		http.Error(writer, "sleep: "+err.Error(), http.StatusBadRequest)
		return
	}
	status, err := number(query.Get("status"), http.StatusOK, 599)
	if err != nil || status < 200 {
		http.Error(writer, "status: not a number from 200 to 599", http.StatusBadRequest)
		return
	}
	padding, err := number(query.Get("bytes"), 0, 64<<20)
	if err != nil {
		http.Error(writer, "bytes: "+err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case <-time.After(time.Duration(sleep) * time.Millisecond):
	case <-request.Context().Done():
		return // the client went away
	}
	told := s.identity
	told.Remote, told.Protocol, told.TLS = request.RemoteAddr, request.Proto, request.TLS != nil
	told.Method, told.Host = request.Method, request.Host
	told.Path, told.Query, told.Headers = request.URL.EscapedPath(), request.URL.RawQuery, request.Header
	told.Padding = strings.Repeat("x", padding)
	writer.Header().Set("Content-Type", "application/json")
	writer.WriteHeader(status)
	// A client that went away gets nothing, and nobody is left to tell.
	_ = json.NewEncoder(writer).Encode(told)
}

func (s *server) health(writer http.ResponseWriter, request *http.Request, rest string) {
	switch {
	case rest == "" && (s.ending.Load() || !s.ready.Load()):
		http.Error(writer, "not ready", http.StatusServiceUnavailable)
	case rest == "":
		fmt.Fprintln(writer, "ok")
	case request.Method == http.MethodPut && (rest == "/on" || rest == "/off"):
		s.ready.Store(rest == "/on")
	default:
		http.Error(writer, "PUT /healthz/on or /healthz/off", http.StatusNotFound)
	}
}

// number reads a count from 0 to most, or missing where the text is empty.
func number(text string, missing, most int) (int, error) {
	if text == "" {
		return missing, nil
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < 0 || value > most {
		return 0, fmt.Errorf("%q is not a number from 0 to %d", text, most)
	}
	return value, nil
}
