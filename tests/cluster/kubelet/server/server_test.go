package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"portcullis/tests/cluster/kubelet/lifecycle"
	"portcullis/tests/cluster/pki"
	"portcullis/tests/cluster/plan"
)

func TestTheAPIServerAloneIsAnswered(t *testing.T) {
	authority, err := pki.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	own, err := authority.Server("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	files := Files{
		Authority:   filepath.Join(folder, "ca.crt"),
		Certificate: filepath.Join(folder, "own.crt"), Key: filepath.Join(folder, "own.key"),
	}
	for path, text := range map[string][]byte{
		files.Authority: authority.Certificate, files.Certificate: own.Certificate, files.Key: own.Key,
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := &Server{Find: func(string, string) *lifecycle.Pod { return nil }}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- served.Serve(ctx, listener, files) }()

	client := func(name string) *http.Client {
		config := &tls.Config{RootCAs: x509.NewCertPool()}
		config.RootCAs.AppendCertsFromPEM(authority.Certificate)
		if name != "" {
			pair, err := authority.Client(name)
			if err != nil {
				t.Fatal(err)
			}
			shown, err := tls.X509KeyPair(pair.Certificate, pair.Key)
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = []tls.Certificate{shown}
		}
		return &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 10 * time.Second}
	}
	for name, want := range map[string]int{
		"": 0, "admin": http.StatusForbidden, plan.KubeletCaller: http.StatusNotFound,
	} {
		code := 0
		answer, err := client(name).Get("https://" + listener.Addr().String() + "/containerLogs/a/b/c")
		if err == nil {
			answer.Body.Close()
			code = answer.StatusCode
		}
		if code != want {
			t.Errorf("%q is answered with %d (%v), not %d", name, code, err, want)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
