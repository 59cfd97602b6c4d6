package harness

import (
	"bufio"
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// Metrics are the samples of one scrape: the name with its labels, as written, and the value.
type Metrics map[string]float64

func scrape(t testing.TB, client *http.Client, url string) Metrics {
	t.Helper()
	body, err := Fetch(client, url)
	if err != nil {
		t.Fatal(err)
	}
	return parseMetrics(body)
}

func parseMetrics(body []byte) Metrics {
	metrics := Metrics{}
	lines := bufio.NewScanner(bytes.NewReader(body))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		// A time or an exemplar may follow the value, and labels may hold spaces.
		end := strings.LastIndexByte(line, '}') + 1
		if end == 0 {
			end = strings.IndexByte(line, ' ')
		}
		if strings.HasPrefix(line, "#") || end <= 0 {
			continue
		}
		if fields := strings.Fields(line[end:]); len(fields) > 0 {
			if value, err := strconv.ParseFloat(fields[0], 64); err == nil {
				metrics[line[:end]] = value
			}
		}
	}
	return metrics
}

// Sum adds all samples of a name whose labels hold all of `labels`, each as in `mode="shadow"`.
func (m Metrics) Sum(name string, labels ...string) float64 {
	var sum float64
	for series, value := range m {
		own, rest, _ := strings.Cut(series, "{")
		if own != name {
			continue
		}
		fits := true
		for _, label := range labels {
			fits = fits && strings.Contains(rest, label)
		}
		if fits {
			sum += value
		}
	}
	return sum
}
