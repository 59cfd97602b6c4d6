package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"berth/e2e/harness"
)

// unthrottled lifts kube-scheduler's own limit of 50 calls a second, which would hide everything else.
func unthrottled(config, _ map[string]any) {
	connection := config["clientConnection"].(map[string]any)
	connection["qps"], connection["burst"] = 5000, 5000
}

// number is a number from the environment.
func number(name string, otherwise int) int {
	if value, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return value
	}
	return otherwise
}

func needFull(t *testing.T) {
	t.Helper()
	if os.Getenv("BERTH_E2E_FULL") == "" {
		t.Skip("`make e2e-full` runs it")
	}
}

// measure binds `count` pods at once and tells how it went.
func measure(t *testing.T, name, extender string, count int) harness.Placement {
	t.Helper()
	var placement harness.Placement
	t.Run(name, func(t *testing.T) {
		scheduler := plane.StartScheduler(t, harness.SchedulerOptions{Extender: extender, Edit: unthrottled, Quiet: true})
		namespace := plane.TestNamespace(t, fmt.Sprintf("scale-%d", time.Now().UnixNano()))
		bindings := plane.WatchPods(t, namespace)
		plane.CreatePods(t, harness.Pods{Namespace: namespace, Workload: "burst", Count: count, CPU: "100m", Memory: "128Mi"})
		placement = bindings.Wait(t, count, 10*time.Minute)
		metrics := scheduler.Metrics(t)
		algorithm := metrics.Sum("scheduler_scheduling_algorithm_duration_seconds_sum") /
			metrics.Sum("scheduler_scheduling_algorithm_duration_seconds_count")
		t.Logf("%s: %s; %.2f ms of kube-scheduler's algorithm a pod", name, placement, 1000*algorithm)
	})
	return placement
}

// Group 5: 1,000 pods at once, with Berth and without, twice, the order turned round. Beside them an extender in Go that knows nothing and
// answers at once: what the call alone costs kube-scheduler.
func TestScale(t *testing.T) {
	needFull(t)
	pods := number("BERTH_E2E_PODS", 1000)
	for _, count := range []int{500, 5000} {
		t.Run(fmt.Sprintf("%d-nodes", count), func(t *testing.T) {
			if most := number("BERTH_E2E_NODES", 5000); count > most {
				t.Skipf("BERTH_E2E_NODES=%d", most)
			}
			nodes := harness.Nodes("node", count, 32, 128*gigabyte)
			var machines []*harness.Machine
			for at, node := range nodes {
				profile := harness.Steady(0.15+0.5*float64(at%97)/97, 0.3)
				machines = append(machines, &harness.Machine{Node: node, Profile: profile})
			}
			monitoring := harness.StartMonitoring(t, machines, harness.History{Span: 15 * time.Minute, Every: 30 * time.Second})
			plane.CreateNodes(t, nodes)
			berth := plane.StartBerth(t, harness.BerthOptions{Prometheus: monitoring.URL, Rules: active, Arguments: []string{
				"--every", "30s", "--warm", "1h", "--timeout", "30s", "--deadline", "20ms",
			}})
			wire := plane.OpenWire(t, harness.Prioritize(func(string) int64 { return 0 }))
			arms := []struct {
				name, extender string
				perSecond      float64
			}{{"alone", "", 0}, {"with one that knows nothing", wire.URL, 0}, {"with Berth", berth.URL, 0}}
			for range 2 {
				for at := range arms {
					arm := &arms[at]
					arm.perSecond += measure(t, arm.name, arm.extender, pods).PerSecond() / 2
				}
				slices.Reverse(arms)
			}
			alone, nothing, with := arms[0].perSecond, arms[1].perSecond, arms[2].perSecond
			memory, err := berth.Memory()
			must(t, err)
			metrics := berth.Metrics(t)
			calls := metrics.Sum("berth_scheduler_extender_request_duration_seconds_count", `verb="prioritize"`)
			seconds := metrics.Sum("berth_scheduler_extender_request_duration_seconds_sum", `verb="prioritize"`)
			t.Logf("%.0f pods a second with Berth, %.0f with an extender that knows nothing and %.0f alone: %.0f %% and %.0f %%; the extender answered %.0f calls in %.2f ms on average, %.0f within 2 ms, and takes %.0f MiB",
				with, nothing, alone, 100*with/alone, 100*nothing/alone, calls, 1000*seconds/calls, within(metrics, "0.0016"), float64(memory)/(1<<20))
			if neutral := metrics.Sum("berth_scheduler_extender_neutral_answers_total"); neutral > calls/10 {
				t.Errorf("%.0f of %.0f answers are neutral: the figures would be about nothing", neutral, calls)
			}
		})
	}
}

// within counts the calls that were answered in at most so many seconds.
func within(metrics harness.Metrics, seconds string) float64 {
	return metrics.Sum("berth_scheduler_extender_request_duration_seconds_bucket", `verb="prioritize"`, `le="`+seconds+`"`)
}
