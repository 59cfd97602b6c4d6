package harness

import (
	"fmt"
	"testing"
)

// Serving is a running model server, the real one, as extenders with `--scoring URL` ask it.
type Serving struct {
	*Process
	// URL of its listener.
	URL string
}

// ServingOptions say how the model server is started.
type ServingOptions struct {
	// Prometheus it asks.
	Prometheus string
}

// StartServing starts the model server and waits until it has models and knows the nodes.
func (c *ControlPlane) StartServing(t testing.TB, options ServingOptions) *Serving {
	t.Helper()
	program, err := c.Program("serving")
	if err != nil {
		t.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	process, err := launch(t.TempDir(), "serving", program, quick,
		"--data", Models(t), "run", "--listen", address, "--prometheus", options.Prometheus)
	if err != nil {
		t.Fatal(err)
	}
	serving := &Serving{Process: process, URL: "http://" + address}
	t.Cleanup(func() {
		serving.Stop()
		if t.Failed() {
			t.Logf("the end of the log of serving:\n%s", serving.Tail(40))
		}
	})
	if err := serving.ready(func() error { return answers(serving.URL + "/v2/health/ready") }); err != nil {
		t.Fatal(err)
	}
	return serving
}

// Metrics is its /metrics.
func (s *Serving) Metrics(t testing.TB) Metrics {
	t.Helper()
	return scrape(t, plain, s.URL+"/metrics")
}
