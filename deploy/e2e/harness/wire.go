package harness

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	extender "k8s.io/kube-scheduler/extender/v1"
)

// Wire stands where the extender is expected, and records what kube-scheduler sends and what it gets back.
type Wire struct {
	URL    string
	mutex  sync.Mutex
	calls  []Call
	answer http.HandlerFunc
	pair   tls.Certificate
	server *http.Server
	conns  map[net.Conn]bool
}

// Call is one request and its answer.
type Call struct {
	Path     string
	Protocol string
	Header   http.Header
	// Remote is the client's address: the same for requests that share a connection.
	Remote string
	Body   []byte
	Status int
	Answer []byte
	// Neutral is why the extender's answer is neutral, by its own word; empty where it is not.
	Neutral string
	Took    time.Duration
	At      time.Time
}

// OpenWire listens with HTTPS; `answer` plays the extender. It is closed when the test ends.
func (c *ControlPlane) OpenWire(t testing.TB, answer http.HandlerFunc) *Wire {
	t.Helper()
	return c.OpenWireWith(t, answer, true)
}

// OpenWireWith is OpenWire with or without HTTP/2.
func (c *ControlPlane) OpenWireWith(t testing.TB, answer http.HandlerFunc, http2 bool) *Wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	wire := &Wire{URL: "https://" + listener.Addr().String(), answer: answer, conns: map[net.Conn]bool{}}
	wire.Present(t, c.Authority, Tomorrow())
	wire.server = &http.Server{
		Handler:   http.HandlerFunc(wire.handle),
		TLSConfig: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return wire.certificate(), nil }},
		// kube-scheduler hangs up by its time limit, which is no news here.
		ErrorLog:  log.New(io.Discard, "", 0),
		ConnState: wire.connection,
		Protocols: new(http.Protocols),
	}
	wire.server.Protocols.SetHTTP1(true)
	wire.server.Protocols.SetHTTP2(http2)
	go func() { _ = wire.server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = wire.server.Close() })
	return wire
}

// Present changes the certificate to one that is good until `until`, and cuts the connections that saw the old one.
func (w *Wire) Present(t testing.TB, authority *Authority, until time.Time) {
	t.Helper()
	pair, err := authority.Issue("scheduler-extender", nil, until)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.pair = certificate
	for connection := range w.conns {
		_ = connection.Close()
	}
}

func (w *Wire) certificate() *tls.Certificate {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	pair := w.pair
	return &pair
}

func (w *Wire) connection(connection net.Conn, state http.ConnState) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	switch state {
	case http.StateNew:
		w.conns[connection] = true
	case http.StateClosed, http.StateHijacked:
		delete(w.conns, connection)
	}
}

// Answer changes who plays the extender.
func (w *Wire) Answer(answer http.HandlerFunc) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.answer = answer
}

func (w *Wire) handle(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	call := Call{
		Path: request.URL.Path, Protocol: request.Proto, Header: request.Header.Clone(), Remote: request.RemoteAddr,
		Body: body, Status: http.StatusOK, At: time.Now(),
	}
	w.mutex.Lock()
	answer := w.answer
	w.mutex.Unlock()
	request.Body = io.NopCloser(bytes.NewReader(body))
	kept := &recorder{ResponseWriter: response, call: &call}
	answer(kept, request)
	call.Took, call.Neutral = time.Since(call.At), response.Header().Get("x-berth-neutral")
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.calls = append(w.calls, call)
}

type recorder struct {
	http.ResponseWriter
	call *Call
}

func (r *recorder) WriteHeader(status int) {
	r.call.Status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets handlers flush.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) Write(bytes []byte) (int, error) {
	r.call.Answer = append(r.call.Answer, bytes...)
	return r.ResponseWriter.Write(bytes)
}

// Calls are the finished ones since the last Forget.
func (w *Wire) Calls() []Call {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return append([]Call(nil), w.calls...)
}

// Forget drops the record.
func (w *Wire) Forget() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.calls = nil
}

// Through hands every request on to a real extender and its answer back, unchanged.
func (c *ControlPlane) Through(url string) http.HandlerFunc {
	client := c.HTTPS()
	return func(response http.ResponseWriter, request *http.Request) {
		onward, err := http.NewRequestWithContext(request.Context(), request.Method, url+request.URL.Path, request.Body)
		if err != nil {
			http.Error(response, err.Error(), http.StatusBadGateway)
			return
		}
		onward.Header = request.Header.Clone()
		answer, err := client.Do(onward)
		if err != nil {
			http.Error(response, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		for key, values := range answer.Header {
			response.Header()[key] = values
		}
		response.WriteHeader(answer.StatusCode)
		// Who hangs up early gets no more of the answer.
		_, _ = io.Copy(response, answer.Body)
	}
}

// Prioritize plays an extender that scores the offered nodes by `score` and filters nothing.
func Prioritize(score func(node string) int64) http.HandlerFunc {
	return func(response http.ResponseWriter, request *http.Request) {
		var arguments extender.ExtenderArgs
		if err := json.NewDecoder(request.Body).Decode(&arguments); err != nil {
			http.Error(response, err.Error(), http.StatusBadRequest)
			return
		}
		var answer any
		if request.URL.Path == "/filter" {
			answer = extender.ExtenderFilterResult{Nodes: arguments.Nodes, NodeNames: arguments.NodeNames}
		} else {
			list := extender.HostPriorityList{}
			for _, node := range Offered(arguments) {
				list = append(list, extender.HostPriority{Host: node, Score: score(node)})
			}
			answer = list
		}
		body, err := json.Marshal(answer)
		if err != nil {
			http.Error(response, err.Error(), http.StatusInternalServerError)
			return
		}
		response.Header().Set("Content-Type", "application/json")
		// In one piece of known length: see TestWireConnections.
		response.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = response.Write(body)
	}
}

// Offered are the names of the nodes in a request of either kind.
func Offered(arguments extender.ExtenderArgs) []string {
	if arguments.NodeNames != nil {
		return *arguments.NodeNames
	}
	var names []string
	if arguments.Nodes != nil {
		for _, node := range arguments.Nodes.Items {
			names = append(names, node.Name)
		}
	}
	return names
}

// SaveGolden writes a request's body where the contract tests of the extender read it.
func (c *ControlPlane) SaveGolden(name string, call Call) error {
	folder := filepath.Join(c.Repository, "scheduler-extender", "tests", "golden")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, call.Body, "", "  "); err != nil {
		return fmt.Errorf("kube-scheduler sent no JSON to %s: %w", call.Path, err)
	}
	return os.WriteFile(filepath.Join(folder, name+".json"), append(pretty.Bytes(), '\n'), 0o644)
}
