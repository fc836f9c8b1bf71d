package probes

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestAVerdictNeedsItsThresholdInARow(t *testing.T) {
	tally := Tally{Success: 2, Failure: 3}
	for i, step := range []struct{ well, verdict, changed bool }{
		{true, false, false}, {false, false, false}, {true, false, false}, {true, true, true}, {true, true, false},
		{false, true, false}, {false, true, false}, {true, true, false}, {false, true, false}, {false, true, false},
		{false, false, true}, {false, false, false},
	} {
		if verdict, changed := tally.Count(step.well); verdict != step.verdict || changed != step.changed {
			t.Fatalf("step %d: verdict %t, changed %t", i, verdict, changed)
		}
	}
}

func listen(t *testing.T, handler http.Handler, withTLS bool) (*Target, *httptest.Server) {
	server := httptest.NewUnstartedServer(handler)
	if withTLS {
		server.StartTLS()
	} else {
		var protocols http.Protocols
		protocols.SetHTTP1(true)
		protocols.SetUnencryptedHTTP2(true)
		server.Config.Protocols = &protocols
		server.Start()
	}
	t.Cleanup(server.Close)
	port := server.Listener.Addr().(*net.TCPAddr).Port
	return &Target{Address: "127.0.0.1", Ports: []v1.ContainerPort{{Name: "web", ContainerPort: int32(port)}}}, server
}

func ask(t *testing.T, handler v1.ProbeHandler, target *Target) error {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return Ask(ctx, &handler, target)
}

func TestHTTPAnswersBelow400AreWell(t *testing.T) {
	for _, scheme := range []v1.URIScheme{v1.URISchemeHTTP, v1.URISchemeHTTPS} {
		target, _ := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Host != "name.test" || r.Header.Get("X-A") != "1" || r.UserAgent() != userAgent {
				w.WriteHeader(http.StatusTeapot)
			} else if r.URL.Query().Get("broken") != "" {
				w.WriteHeader(http.StatusServiceUnavailable)
			} else {
				http.Redirect(w, r, "http://elsewhere.test/", http.StatusFound)
			}
		}), scheme == v1.URISchemeHTTPS)
		action := &v1.HTTPGetAction{Scheme: scheme, Path: "healthz", Port: intstr.FromString("web"),
			HTTPHeaders: []v1.HTTPHeader{{Name: "Host", Value: "name.test"}, {Name: "X-A", Value: "1"}}}
		if err := ask(t, v1.ProbeHandler{HTTPGet: action}, target); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
		action.Path = "/healthz?broken=1"
		err := ask(t, v1.ProbeHandler{HTTPGet: action}, target)
		if err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("%s: 503 is %v", scheme, err)
		}
	}
}

func TestAPortThatNobodyListensOnIsUnwell(t *testing.T) {
	target, server := listen(t, http.NotFoundHandler(), false)
	socket := v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromString("web")}}
	if err := ask(t, socket, target); err != nil {
		t.Error(err)
	}
	server.Close()
	if err := ask(t, socket, target); err == nil {
		t.Error("a closed port is well")
	}
	socket.TCPSocket.Port = intstr.FromString("other")
	if err := ask(t, socket, target); err == nil || !strings.Contains(err.Error(), `"other"`) {
		t.Errorf("a port without a number is %v", err)
	}
}

func TestHealthOfGRPCIsRead(t *testing.T) {
	target, _ := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		frame := make([]byte, 64)
		n, _ := r.Body.Read(frame)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "grpc-status")
		status := byte(2) // NOT_SERVING
		if r.ProtoMajor == 2 && string(frame[:n]) == "\x00\x00\x00\x00\x05\x0a\x03svc" {
			status = 1
		}
		_, _ = w.Write([]byte{0, 0, 0, 0, 2, 8, status})
		w.Header().Set("grpc-status", "0")
	}), false)
	for service, well := range map[string]bool{"svc": true, "other": false} {
		handler := v1.ProbeHandler{GRPC: &v1.GRPCAction{Port: target.Ports[0].ContainerPort, Service: &service}}
		if err := ask(t, handler, target); (err == nil) != well {
			t.Errorf("%s: %v", service, err)
		}
	}
}

func TestAProbeReportsChangesAlone(t *testing.T) {
	answers := make(chan int32, 10)
	for _, code := range []int32{0, 0, 1, 1, 0} {
		answers <- code
	}
	ctx, cancel := context.WithCancel(t.Context())
	target := &Target{Run: func(context.Context, []string) (int32, []byte, error) {
		select {
		case code := <-answers:
			return code, nil, nil
		default:
			cancel()
			return 0, nil, nil
		}
	}}
	var reports []bool
	probe := &v1.Probe{PeriodSeconds: 1, FailureThreshold: 2, SuccessThreshold: 1,
		ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"x"}}}}
	Watch(ctx, probe, target, func(healthy bool, _ error) { reports = append(reports, healthy) })
	if len(reports) != 3 || !reports[0] || reports[1] || !reports[2] {
		t.Errorf("reports %v", reports)
	}
}
