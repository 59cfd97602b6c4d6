package harness

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// History is what Prometheus knows before a test begins, and how it goes on.
type History struct {
	// Span of it.
	Span time.Duration
	// Age of its end. With an age the exporters are silent at first.
	Age time.Duration
	// Every is how often the exporters are scraped from then on; 5 s where it is not given.
	Every time.Duration
	// Step is the distance of samples in it, but for its end; a minute where it is not given.
	Step time.Duration
}

// denseEnd is the end of the history whose samples are as dense as live ones: Berth measures their distance there.
const denseEnd = 15 * time.Minute

// Monitoring is a real Prometheus that scrapes what the machines and their pods do.
type Monitoring struct {
	URL     string
	mutex   sync.Mutex
	all     []*Machine
	byName  map[string]*Machine
	known   map[string]bool
	mode    ExporterMode
	process *Process
	start   func() (*Process, error)
}

// ExporterMode says how the exporters answer.
type ExporterMode int

const (
	// Honest counters.
	Honest ExporterMode = iota
	// NotANumber instead of every value.
	NotANumber
	// Silent: no answer, so that the series end.
	Silent
)

// StartMonitoring gives Prometheus a history of the machines and starts it.
func StartMonitoring(t testing.TB, machines []*Machine, history History) *Monitoring {
	t.Helper()
	if history.Every == 0 {
		history.Every = 5 * time.Second
	}
	if history.Step == 0 {
		history.Step = time.Minute
	}
	folder := t.TempDir()
	monitoring := &Monitoring{all: machines, byName: map[string]*Machine{}, known: map[string]bool{}}
	for _, machine := range machines {
		monitoring.byName[machine.Name] = machine
	}
	if history.Age > 0 {
		monitoring.mode = Silent
	}
	if err := monitoring.write(folder, history); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	exporter := &http.Server{Handler: http.HandlerFunc(monitoring.export)}
	go func() { _ = exporter.Serve(listener) }()
	t.Cleanup(func() { _ = exporter.Close() })
	if err := monitoring.prometheus(folder, listener.Addr().String(), history.Every); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(monitoring.Stop)
	return monitoring
}

// write writes what the machines did and has promtool make blocks of it.
func (m *Monitoring) write(folder string, history History) error {
	data := filepath.Join(folder, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	until := time.Now().Add(-history.Age)
	from := until.Add(-history.Span).Truncate(history.Step)
	series := newFamilies(true)
	for _, machine := range m.all {
		machine.booted, machine.last = from.Add(-24*time.Hour), from.Add(-history.Step)
		machine.pods = map[string]*podUsage{}
		for at := from; at.Before(until); {
			if machine.Rebooted > 0 && until.Sub(at) < machine.Rebooted {
				machine.reboot(at)
			}
			machine.advance(at)
			machine.write(series)
			if until.Sub(at) > denseEnd {
				at = at.Add(history.Step)
			} else {
				at = at.Add(history.Every)
			}
		}
	}
	text := filepath.Join(folder, "history.om")
	if err := os.WriteFile(text, []byte(series.String()), 0o644); err != nil {
		return err
	}
	defer os.Remove(text)
	output, err := exec.Command("promtool", "tsdb", "create-blocks-from", "openmetrics", text, data).CombinedOutput()
	if err != nil {
		return fmt.Errorf("promtool refuses the history (`make test-setup` installs it): %w: %s", err, output)
	}
	return nil
}

func (m *Monitoring) prometheus(folder, exporter string, every time.Duration) error {
	config := fmt.Sprintf(`global: {scrape_interval: %[1]s, scrape_timeout: %[1]s}
scrape_configs:
  - job_name: exporters
    honor_labels: true
    static_configs: [{targets: [%[2]q]}]
`, every, exporter)
	path := filepath.Join(folder, "prometheus.yml")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	m.URL = fmt.Sprintf("http://127.0.0.1:%d", port)
	m.start = func() (*Process, error) {
		return launch(folder, "prometheus", "prometheus", nil, "--config.file", path,
			"--storage.tsdb.path", filepath.Join(folder, "data"), "--storage.tsdb.retention.time", "30d",
			"--web.listen-address", fmt.Sprintf("127.0.0.1:%d", port), "--log.level", "warn")
	}
	return m.Resume()
}

// Count is how many series a query finds now.
func (m *Monitoring) Count(t testing.TB, query string) int {
	t.Helper()
	body, err := Fetch(plain, m.URL+"/api/v1/query?query="+url.QueryEscape(query))
	var answer struct{ Data struct{ Result []any } }
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err != nil {
		t.Fatalf("`%s`: %v", query, err)
	}
	return len(answer.Data.Result)
}

// Stop stops Prometheus.
func (m *Monitoring) Stop() { m.process.Stop() }

// Resume starts Prometheus, at first or again.
func (m *Monitoring) Resume() error {
	process, err := m.start()
	if err != nil {
		return err
	}
	m.process = process
	return process.ready(func() error { return answers(m.URL + "/-/ready") })
}

// Exporters changes how the exporters answer from now on.
func (m *Monitoring) Exporters(mode ExporterMode) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.mode = mode
}

// Change gives a machine another profile from now on.
func (m *Monitoring) Change(node string, profile func(string, time.Time) Usage) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.byName[node].Profile = profile
}

// Usage of all machines, as of their last scrape.
func (m *Monitoring) Usage() map[string]Usage {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	usage := map[string]Usage{}
	for _, machine := range m.all {
		usage[machine.Name] = machine.usage
	}
	return usage
}

// Run lets bound pods use `share` of what they request, in memory as well, from the next scrape on.
func (m *Monitoring) Run(bound []Bound, share float64) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, one := range bound {
		machine := m.byName[one.Node]
		if machine == nil || m.known[string(one.Pod.UID)] {
			continue
		}
		m.known[string(one.Pod.UID)] = true
		machine.pods[string(one.Pod.UID)] = usageOf(one, share)
	}
}

func usageOf(bound Bound, share float64) *podUsage {
	pod := bound.Pod
	requests := pod.Spec.Containers[0].Resources.Requests
	cpu, memory := requests[corev1.ResourceCPU], requests[corev1.ResourceMemory]
	usage := &podUsage{
		namespace: pod.Namespace, name: pod.Name, uid: string(pod.UID), created: bound.Created,
		cpuRequest: cpu.AsApproximateFloat64(), memoryRequest: memory.AsApproximateFloat64(),
	}
	usage.cores, usage.bytes = share*usage.cpuRequest, share*usage.memoryRequest
	if len(pod.OwnerReferences) > 0 {
		usage.ownerKind, usage.owner = pod.OwnerReferences[0].Kind, pod.OwnerReferences[0].Name
	}
	return usage
}

func (m *Monitoring) export(response http.ResponseWriter, _ *http.Request) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.mode == Silent {
		http.Error(response, "the exporters are silent", http.StatusServiceUnavailable)
		return
	}
	series, now := newFamilies(false), time.Now()
	if m.mode == NotANumber {
		series.poison = "NaN"
	}
	for _, machine := range m.all {
		machine.advance(now)
		machine.write(series)
	}
	response.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_, _ = response.Write([]byte(series.String()))
}
