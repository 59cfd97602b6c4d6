package harness

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Berth is a running scheduler-extender, the real one.
type Berth struct {
	*Process
	// URL of its listener, and Address without the scheme.
	URL, Address string
	// ProbeURL is where probes are answered to clients without a certificate.
	ProbeURL string
	// Root is its data folder, with models of its own to damage.
	Root        string
	folder      string
	client      *http.Client
	program     string
	flags       []string
	environment []string
	start       func() (*Process, error)
}

// BerthOptions say how the extender is started.
type BerthOptions struct {
	// Prometheus it asks.
	Prometheus string
	// Scoring is the address of a serving that it asks for scores instead.
	Scoring string
	// Rules it begins with, as in its rules file.
	Rules string
	// Arguments more.
	Arguments []string
	// Name of its log, for tests with several.
	Name string
	// Root is a data folder; without it the test gets a copy of the models.
	Root string
	// NotReady says that it is not waited for.
	NotReady bool
	// KnowsClients lets only clients with a certificate of the control plane's authority in, but for probes.
	KnowsClients bool
}

// StartBerth starts the extender with the account, the certificate and the cluster that it would have in production.
func (c *ControlPlane) StartBerth(t testing.TB, options BerthOptions) *Berth {
	t.Helper()
	if options.Name == "" {
		options.Name = "scheduler-extender"
	}
	if options.Root == "" {
		options.Root = Models(t)
	}
	berth := &Berth{Root: options.Root, folder: t.TempDir(), client: c.HTTPS()}
	if options.KnowsClients {
		berth.client = c.HTTPSAs(t, "operator", berth.folder)
	}
	berth.Rules(t, options.Rules)
	if err := c.settle(berth, options); err != nil {
		t.Fatal(err)
	}
	berth.start = func() (*Process, error) {
		return launch(berth.folder, options.Name, berth.program, berth.environment, berth.arguments("run", berth.flags...)...)
	}
	berth.Start(t)
	t.Cleanup(func() {
		berth.Stop()
		if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", options.Name, berth.Tail(40))
		}
	})
	if !options.NotReady {
		berth.WaitReady(t)
	}
	return berth
}

// quick are settings for tests that last seconds instead of days; a flag wins over each.
var quick = []string{
	// Most of the history has a sample a minute, whole minutes apart.
	"BERTH_PROMETHEUS_RATE_WINDOW=2m",
	"BERTH_PROMETHEUS_RETRIES=0", "BERTH_PROMETHEUS_TIMEOUT=5s",
	"BERTH_SERVING_EVERY=5s", "BERTH_SERVING_WARM=6h",
	// Tests of what is chosen share their machine with compilers; it stays below kube-scheduler's limit of 200 ms.
	"BERTH_EXTENDER_DEADLINE=150ms",
}

// settle fills in what the extender is started with.
func (c *ControlPlane) settle(berth *Berth, options BerthOptions) error {
	program, err := c.Program("scheduler-extender")
	if err != nil {
		return err
	}
	kubeconfig, err := c.TokenKubeconfig("berth", "berth-scheduler-extender")
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	serving, err := c.Authority.Issue("scheduler-extender", nil, Tomorrow())
	if err != nil {
		return err
	}
	certificate, key, err := serving.Write(berth.folder, "serving")
	if err != nil {
		return err
	}
	berth.program, berth.environment = program, append([]string{"KUBECONFIG=" + kubeconfig}, quick...)
	berth.Address = fmt.Sprintf("127.0.0.1:%d", port)
	berth.URL = "https://" + berth.Address
	berth.flags = []string{
		"--listen", berth.Address, "--rules", berth.RulesFile(), "--kill-file", berth.killFile(),
		"--tls-cert-file", certificate, "--tls-key-file", key,
	}
	if options.Prometheus != "" {
		berth.flags = append(berth.flags, "--prometheus", options.Prometheus)
	}
	if options.Scoring != "" {
		berth.flags = append(berth.flags, "--scoring", options.Scoring)
	}
	if options.KnowsClients {
		probes, err := freePort()
		if err != nil {
			return err
		}
		address := fmt.Sprintf("127.0.0.1:%d", probes)
		berth.ProbeURL = "http://" + address
		// The names of kube-scheduler and of the operator, whose certificates are of the same authority as all others.
		berth.flags = append(berth.flags,
			"--tls-client-ca-file", c.AuthorityFile(), "--tls-client-name", "kube-scheduler,operator", "--probe-listen", address)
		berth.environment = append(berth.environment, clientFiles(berth.folder, "operator")...)
	}
	berth.flags = append(berth.flags, options.Arguments...)
	return nil
}

// Start starts it, at first or again, without waiting until it is ready.
func (b *Berth) Start(t testing.TB) {
	t.Helper()
	process, err := b.start()
	if err != nil {
		t.Fatal(err)
	}
	b.Process = process
}

// WaitReady waits until it has models and fresh nodes.
func (b *Berth) WaitReady(t testing.TB) {
	t.Helper()
	if err := b.ready(func() error { return b.Answers("/readyz") }); err != nil {
		t.Fatal(err)
	}
}

// Answers tells whether a path is answered with 200.
func (b *Berth) Answers(path string) error {
	_, err := Fetch(b.client, b.URL+path)
	return err
}

// JSON reads what a path answers.
func (b *Berth) JSON(t testing.TB, path string, into any) {
	t.Helper()
	body, err := Fetch(b.client, b.URL+path)
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// Text is what a path answers.
func (b *Berth) Text(t testing.TB, path string) string {
	t.Helper()
	body, err := Fetch(b.client, b.URL+path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return string(body)
}

// Metrics is its /metrics.
func (b *Berth) Metrics(t testing.TB) Metrics {
	t.Helper()
	return scrape(t, b.client, b.URL+"/metrics")
}

// Rules writes the rules file, which the extender takes in by itself.
func (b *Berth) Rules(t testing.TB, rules string) {
	t.Helper()
	// Written beside and renamed, as an operator's tools do it.
	next := b.RulesFile() + ".next"
	if err := os.WriteFile(next, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, b.RulesFile()); err != nil {
		t.Fatal(err)
	}
}

// KillSwitch turns it on or off.
func (b *Berth) KillSwitch(t testing.TB, on bool) {
	t.Helper()
	var err error
	if on {
		err = os.WriteFile(b.killFile(), nil, 0o644)
	} else {
		err = os.Remove(b.killFile())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// RulesFile is where its rules are.
func (b *Berth) RulesFile() string { return filepath.Join(b.folder, "rules.toml") }

func (b *Berth) killFile() string { return filepath.Join(b.folder, "kill") }

// Program is one of ours as `make build` leaves it; examples are below `examples/`.
func (c *ControlPlane) Program(name string) (string, error) {
	target := os.Getenv("CARGO_TARGET_DIR")
	if target == "" {
		target = filepath.Join(c.Repository, "target")
	}
	program := filepath.Join(target, "debug", filepath.FromSlash(name))
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("`%s` is not built (%w): `make e2e` builds it", name, err)
	}
	return program, nil
}

// Models is a data folder with a copy of the registered models of BERTH_DATA, for one test to use and to damage.
func Models(t testing.TB) string {
	t.Helper()
	data := os.Getenv("BERTH_DATA")
	if data == "" {
		t.Fatal("BERTH_DATA is not set: it names a data folder with registered models, such as `make cycle` leaves")
	}
	root := t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "tracking"), os.DirFS(filepath.Join(data, "tracking"))); err != nil {
		t.Fatalf("BERTH_DATA has no registry: %v", err)
	}
	return root
}

// ModelFiles are the files of the models registered below `root` whose path contains `part`.
func ModelFiles(t testing.TB, root, part string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(filepath.Join(root, "tracking", "artifacts"), func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.Contains(path, part) {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of models with `%s` below %s: %v", part, root, err)
	}
	return files
}

// Within waits until a metric satisfies `holds`.
func (b *Berth) Within(t testing.TB, limit time.Duration, what string, holds func(Metrics) bool) {
	t.Helper()
	Eventually(t, what, limit, func() error {
		body, err := Fetch(b.client, b.URL+"/metrics")
		if err != nil {
			return err
		}
		if !holds(parseMetrics(body)) {
			return fmt.Errorf("its metrics do not say so")
		}
		return nil
	})
}
