// Package server is the API of the kubelet, as far as the API server asks for it: what containers say, commands in them,
// and connections to their ports.
//
//	kubectl --https--> API server --https, its certificate--> Server --> lifecycle.Pod
//
// The protocols of streams are those of the module k8s.io/cri-streaming, which container runtimes serve them by.
package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"portcullis/tests/cluster/kubelet/lifecycle"
	"portcullis/tests/cluster/plan"
)

// Files are paths of PEM files.
type Files struct {
	// Authority has signed the certificates of those who ask.
	Authority string
	// Certificate and Key are the server's own.
	Certificate, Key string
}

// Server answers for the pods of one node.
type Server struct {
	// Find returns a pod of the node; nil where it has none of that name.
	Find func(namespace, name string) *lifecycle.Pod
}

// Serve answers until the context ends, and closes the listener then.
//
// # Errors
//
// What keeps it from beginning.
func (server *Server) Serve(ctx context.Context, listener net.Listener, files Files) error {
	defer listener.Close()
	authorities := x509.NewCertPool()
	text, err := os.ReadFile(files.Authority)
	if err != nil {
		return fmt.Errorf("authority of the kubelet's callers: %w", err)
	}
	if !authorities.AppendCertsFromPEM(text) {
		return fmt.Errorf("authority of the kubelet's callers: no certificate in %s", files.Authority)
	}
	web := &http.Server{
		Handler: server.handler(), ReadHeaderTimeout: 30 * time.Second,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authorities,
			// Streams take a connection over, which HTTP/2 does not have.
			NextProtos: []string{"http/1.1"},
		},
	}
	stop := context.AfterFunc(ctx, func() { web.Close() })
	defer stop()
	if err := web.ServeTLS(listener, files.Certificate, files.Key); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("API of the kubelet: %w", err)
	}
	return nil
}

func (server *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", server.logs)
	// By GET where it is a WebSocket.
	for _, method := range []string{"GET", "POST"} {
		mux.HandleFunc(method+" /exec/{namespace}/{pod}/{container}", server.exec)
		mux.HandleFunc(method+" /portForward/{namespace}/{pod}", server.portForward)
	}
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		if name := request.TLS.PeerCertificates[0].Subject.CommonName; name != plan.KubeletCaller {
			slog.Warn("the kubelet was asked by somebody else than the API server", "name", name)
			http.Error(writer, fmt.Sprintf("%q may not ask the kubelet", name), http.StatusForbidden)
			return
		}
		mux.ServeHTTP(writer, request)
	})
}

// pod returns the pod that a request is about; where there is none it is answered.
func (server *Server) pod(writer http.ResponseWriter, request *http.Request) *lifecycle.Pod {
	namespace, name := request.PathValue("namespace"), request.PathValue("pod")
	pod := server.Find(namespace, name)
	if pod == nil {
		http.Error(writer, fmt.Sprintf("pod %s/%s is not on this node", namespace, name), http.StatusNotFound)
	}
	return pod
}

// logs sends what the latest run of a container has said, and with `follow` what it says until it ends.
func (server *Server) logs(writer http.ResponseWriter, request *http.Request) {
	pod := server.pod(writer, request)
	if pod == nil {
		return
	}
	query := request.URL.Query()
	for name := range query {
		if name != "follow" {
			http.Error(writer, fmt.Sprintf("logs with %s: not done by this kubelet", name), http.StatusBadRequest)
			return
		}
	}
	path, ended, err := pod.Log(request.PathValue("container"))
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	log, err := os.Open(path)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusInternalServerError)
		return
	}
	defer log.Close()
	writer.Header().Set("Content-Type", "text/plain")
	writer.WriteHeader(http.StatusOK)
	flusher := http.NewResponseController(writer)
	for over := query.Get("follow") != "true"; ; {
		if _, err := io.Copy(writer, log); err != nil || flusher.Flush() != nil || over {
			return
		}
		select {
		case <-request.Context().Done():
			return
		case <-ended:
			over = true // once more, for what was said last
		case <-time.After(50 * time.Millisecond):
		}
	}
}
