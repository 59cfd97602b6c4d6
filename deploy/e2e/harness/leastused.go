package harness

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"
)

// LeastUsed plays the extender that everybody writes first: nodes by their used CPU as Prometheus has it, the least used
// first, and nothing of the pods that were bound since. It reads what Berth reads.
func (m *Monitoring) LeastUsed(t testing.TB, every time.Duration) http.HandlerFunc {
	t.Helper()
	var mutex sync.Mutex
	var used map[string]float64
	read := func() error {
		fresh, err := m.utilization()
		if err != nil {
			return err
		}
		mutex.Lock()
		defer mutex.Unlock()
		used = fresh
		return nil
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(every):
				// What cannot be read stays as it was.
				_ = read()
			}
		}
	}()
	return Prioritize(func(node string) int64 {
		mutex.Lock()
		defer mutex.Unlock()
		return int64(10*(1-used[node]) + 0.5)
	})
}

// utilization is the used share of each node's CPU, by Prometheus.
func (m *Monitoring) utilization() (map[string]float64, error) {
	query := `sum by (instance) (rate(node_cpu_seconds_total{mode="user"}[2m]))`
	body, err := Fetch(plain, m.URL+"/api/v1/query?query="+url.QueryEscape(query))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	cores := map[string]float64{}
	for _, series := range answer.Data.Result {
		said, _ := series.Value[1].(string)
		value, err := strconv.ParseFloat(said, 64)
		if err != nil {
			return nil, fmt.Errorf("prometheus gives `%s` for %v", said, series.Metric)
		}
		cores[series.Metric["instance"]] = value
	}
	used := map[string]float64{}
	for _, machine := range m.all {
		used[machine.Name] = cores[machine.Address+":9100"] / float64(machine.Cores)
	}
	return used, nil
}
