package harness

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"
)

// Scheduler is a running kube-scheduler.
type Scheduler struct {
	*Process
	// Config is the file that it was started with.
	Config  string
	metrics string
	client  *http.Client
}

// SchedulerOptions say how kube-scheduler is started. Without anything it runs as shipped by Kubernetes, alone.
type SchedulerOptions struct {
	// Extender is the address of the extender; empty for none.
	Extender string
	// Edit changes the shipped configuration further.
	Edit func(config, extender map[string]any)
	// Name of its log; tests with several schedulers tell them apart by it.
	Name string
	// Quiet leaves out the log of failed webhooks and all else above verbosity 2, which costs time.
	Quiet bool
}

// StartScheduler starts kube-scheduler with the configuration that deploy/ ships; addresses, kubeconfig and certificates
// are put in. It is stopped when the test ends.
func (c *ControlPlane) StartScheduler(t testing.TB, options SchedulerOptions) *Scheduler {
	t.Helper()
	if options.Name == "" {
		options.Name = "kube-scheduler"
	}
	scheduler, err := c.startScheduler(t.TempDir(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		scheduler.Stop()
		if t.Failed() {
			t.Logf("the end of kube-scheduler's log:\n%s", scheduler.Tail(30))
		}
	})
	return scheduler
}

func (c *ControlPlane) startScheduler(folder string, options SchedulerOptions) (*Scheduler, error) {
	if _, err := c.Kubeconfig("system:kube-scheduler", nil); err != nil {
		return nil, err
	}
	path, err := c.writeSchedulerConfig(folder, options)
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	serving, err := c.Authority.Issue("kube-scheduler", nil, Tomorrow())
	if err != nil {
		return nil, err
	}
	certificate, key, err := serving.Write(folder, "kube-scheduler")
	if err != nil {
		return nil, err
	}
	verbosity := "5"
	if options.Quiet {
		verbosity = "2"
	}
	process, err := launch(folder, options.Name, filepath.Join(c.binaries, "kube-scheduler"), nil,
		"--config", path, "--leader-elect=false", "--bind-address", "127.0.0.1", "--secure-port", fmt.Sprint(port),
		"--tls-cert-file", certificate, "--tls-private-key-file", key,
		"--authorization-always-allow-paths", "/healthz,/readyz,/livez,/metrics", "-v", verbosity)
	if err != nil {
		return nil, err
	}
	scheduler := &Scheduler{Process: process, Config: path, metrics: fmt.Sprintf("https://127.0.0.1:%d", port), client: c.HTTPS()}
	return scheduler, process.ready(func() error {
		_, err := Fetch(scheduler.client, scheduler.metrics+"/readyz")
		return err
	})
}

// SchedulerConfig writes the file that a kube-scheduler would be started with.
func (c *ControlPlane) SchedulerConfig(t testing.TB, options SchedulerOptions) string {
	t.Helper()
	path, err := c.writeSchedulerConfig(t.TempDir(), options)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (c *ControlPlane) writeSchedulerConfig(folder string, options SchedulerOptions) (string, error) {
	config, err := c.schedulerConfig(options)
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "config.yaml")
	return path, os.WriteFile(path, config, 0o600)
}

// schedulerConfig is deploy/kube-scheduler/config.yaml with the test's addresses.
func (c *ControlPlane) schedulerConfig(options SchedulerOptions) ([]byte, error) {
	path := filepath.Join(c.Repository, "deploy", "kube-scheduler", "config.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var config map[string]any
	if err := yaml.UnmarshalStrict(text, &config); err != nil {
		return nil, fmt.Errorf("failed to read %s: %w", path, err)
	}
	connection, _ := config["clientConnection"].(map[string]any)
	extenders, _ := config["extenders"].([]any)
	if connection == nil || len(extenders) != 1 {
		return nil, fmt.Errorf("%s has no clientConnection or not one extender", path)
	}
	connection["kubeconfig"] = filepath.Join(c.Folder, "system:kube-scheduler.kubeconfig")
	extender := extenders[0].(map[string]any)
	extender["urlPrefix"] = options.Extender
	extender["tlsConfig"] = map[string]any{"caData": base64.StdEncoding.EncodeToString(c.Authority.PEM)}
	if options.Edit != nil {
		options.Edit(config, extender)
	}
	if options.Extender == "" {
		delete(config, "extenders")
	}
	return yaml.Marshal(config)
}

// Metrics is kube-scheduler's /metrics.
func (s *Scheduler) Metrics(t testing.TB) Metrics {
	t.Helper()
	return scrape(t, s.client, s.metrics+"/metrics")
}

// HTTPS is a client that trusts the control plane's authority.
func (c *ControlPlane) HTTPS() *http.Client {
	return c.httpsWith(&tls.Config{})
}

// HTTPSAs is HTTPS with a client certificate, which is left in `folder`.
func (c *ControlPlane) HTTPSAs(t testing.TB, name, folder string) *http.Client {
	t.Helper()
	pair, err := c.Authority.Issue(name, nil, Tomorrow())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := pair.Write(folder, name); err != nil {
		t.Fatal(err)
	}
	certificate, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	return c.httpsWith(&tls.Config{Certificates: []tls.Certificate{certificate}})
}

func (c *ControlPlane) httpsWith(config *tls.Config) *http.Client {
	config.RootCAs = x509.NewCertPool()
	config.RootCAs.AppendCertsFromPEM(c.Authority.PEM)
	return &http.Client{Timeout: plain.Timeout, Transport: &http.Transport{TLSClientConfig: config}}
}
