package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func ask(t *testing.T, state *server, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequest(method, target, nil)
	request.Host = "a.example"
	request.Header.Set("X-Test", "b")
	recorder := httptest.NewRecorder()
	state.ServeHTTP(recorder, request)
	return recorder
}

func newReady(t *testing.T) *server {
	t.Helper()
	t.Setenv("POD_NAME", "pod-1")
	t.Setenv("POD_NAMESPACE", "space")
	state := newServer()
	state.ready.Store(true)
	return state
}

func TestAnAnswerTellsWhoAndWhat(t *testing.T) {
	recorder := ask(t, newReady(t), http.MethodGet, "/a%2Fb?status=418&bytes=3")
	var told answer
	if err := json.Unmarshal(recorder.Body.Bytes(), &told); err != nil {
		t.Fatal(err)
	}
	if recorder.Code != http.StatusTeapot || told.Pod != "pod-1" || told.Namespace != "space" || told.Host != "a.example" ||
		told.Path != "/a%2Fb" || told.Query != "status=418&bytes=3" || told.Padding != "xxx" ||
		told.Headers.Get("X-Test") != "b" || told.Remote == "" {
		t.Errorf("%d %+v", recorder.Code, told)
	}
}

func TestSleepDelaysTheAnswer(t *testing.T) {
	began := time.Now()
	if ask(t, newReady(t), http.MethodGet, "/?sleep=50").Code != http.StatusOK || time.Since(began) < 50*time.Millisecond {
		t.Errorf("answered after %s", time.Since(began))
	}
}

func TestWrongNumbersAreRefused(t *testing.T) {
	for _, query := range []string{"sleep=x", "sleep=-1", "status=600", "status=100", "bytes=1e9"} {
		recorder := ask(t, newReady(t), http.MethodGet, "/?"+query)
		name, _, _ := strings.Cut(query, "=")
		if recorder.Code != http.StatusBadRequest || !strings.HasPrefix(recorder.Body.String(), name+": ") {
			t.Errorf("%s: %d %s", query, recorder.Code, recorder.Body)
		}
	}
}

func TestReadinessIsTurnedOffAndOn(t *testing.T) {
	state := newReady(t)
	for _, step := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/healthz", 200},
		{http.MethodPut, "/healthz/off", 200},
		{http.MethodGet, "/healthz", 503},
		{http.MethodGet, "/", 200}, // what is not ready still serves
		{http.MethodPut, "/healthz/on", 200},
		{http.MethodGet, "/healthz", 200},
		{http.MethodGet, "/healthz/off", 404}, // only told, never by a look
		{http.MethodGet, "/healthz", 200},
	} {
		if got := ask(t, state, step.method, step.path).Code; got != step.status {
			t.Errorf("%s %s: %d, not %d", step.method, step.path, got, step.status)
		}
	}
	state.ending.Store(true)
	if got := ask(t, state, http.MethodGet, "/healthz").Code; got != http.StatusServiceUnavailable {
		t.Errorf("a process that ends is ready: %d", got)
	}
}
