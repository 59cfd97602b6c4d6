package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/e2e/harness"
)

// Group 3: whatever is broken, all pods are bound. Each case breaks one thing, sees that the extender says so (or, where it cannot,
// that kube-scheduler does), binds a batch of pods, repairs the thing and waits until all is well by itself.

// Alone, kube-scheduler puts a third of them on each of three nodes; with Berth a late answer or two may be neutral on a busy machine.
const batch = 30

var batchPods = harness.Pods{Workload: "cart", Count: batch, CPU: "100m", Memory: "64Mi"}

// pace logs how fast a batch was bound, beside kube-scheduler alone.
func pace(t *testing.T, alone, with harness.Placement) {
	t.Helper()
	waits := func(placement harness.Placement) string {
		return fmt.Sprintf("%.0f pods a second, wait P50 %.0f ms, P99 %.0f ms", placement.PerSecond(),
			placement.Quantile(0.5).Seconds()*1000, placement.Quantile(0.99).Seconds()*1000)
	}
	t.Logf("%s; alone %s", waits(with), waits(alone))
}

// Faults of the extender's process and of the wire, which only kube-scheduler can tell.
func TestFaultsOfTheExtender(t *testing.T) {
	scene := stage(t, 0.93, 0.25, 0.30)
	alone, _ := burst(t, "", batchPods)
	berth := scene.berth(t, active)
	direct := plane.StartScheduler(t, harness.SchedulerOptions{Extender: berth.URL, Name: "direct"})
	influence := func(t *testing.T) {
		t.Helper()
		// Failed calls of a minute ago may have it in fallback, whose end is awaited.
		waitState(t, berth, "healthy", "")
		with, _ := create(t, batchPods)
		if with.ByNode["node-000"] > batch/6 {
			t.Errorf("%d pods are on the hot node: the extender has no influence again", with.ByNode["node-000"])
		}
	}
	influence(t)
	for _, fault := range []struct {
		name   string
		inject func()
		repair func(t *testing.T)
	}{
		{"killed", berth.Kill, func(t *testing.T) { berth.Start(t); berth.WaitReady(t) }},
		{"hung", func() { berth.Signal(syscall.SIGSTOP) }, func(t *testing.T) { berth.Signal(syscall.SIGCONT); berth.WaitReady(t) }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			seen := len(failures(t, direct))
			fault.inject()
			with, _ := create(t, batchPods)
			pace(t, alone, with)
			if len(failures(t, direct)) == seen {
				t.Error("kube-scheduler does not say that the extender failed")
			}
			fault.repair(t)
			influence(t)
		})
	}
	direct.Stop()
	faultsOfTheWire(t, berth, alone, influence)
}

// What kube-scheduler logs of a prioritize call that failed, from verbosity 5 on; it has no metric for it.
const failedExtender = "Failed to run extender's priority function"

// failures are what kube-scheduler has logged of such calls.
func failures(t *testing.T, scheduler *harness.Scheduler) []string {
	t.Helper()
	text, err := os.ReadFile(scheduler.Log)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, failedExtender) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func faultsOfTheWire(t *testing.T, berth *harness.Berth, alone harness.Placement, influence func(*testing.T)) {
	through := plane.Through(berth.URL)
	wire := plane.OpenWire(t, through)
	scheduler := plane.StartScheduler(t, harness.SchedulerOptions{Extender: wire.URL, Name: "wired"})
	say := func(status int, body string) func() {
		return func() {
			wire.Answer(func(response http.ResponseWriter, _ *http.Request) {
				response.WriteHeader(status)
				_, _ = response.Write([]byte(body))
			})
		}
	}
	for _, fault := range []struct {
		name   string
		inject func()
	}{
		{"garbage", say(http.StatusOK, "\x00\xff{]")},
		{"500", say(http.StatusInternalServerError, "out of order")},
		{"the certificate has expired", func() { wire.Present(t, plane.Authority, time.Now().Add(-time.Hour)) }},
		{"slower than the time limit", func() {
			wire.Answer(func(response http.ResponseWriter, request *http.Request) { <-request.Context().Done() })
		}},
	} {
		t.Run(strings.ReplaceAll(fault.name, " ", "-"), func(t *testing.T) {
			seen := len(failures(t, scheduler))
			fault.inject()
			with, _ := create(t, batchPods)
			pace(t, alone, with)
			if len(failures(t, scheduler)) == seen {
				t.Error("kube-scheduler does not say that the extender failed")
			}
			wire.Answer(through)
			wire.Present(t, plane.Authority, harness.Tomorrow())
			influence(t)
		})
	}
}

// soon makes usage stale after seconds instead of minutes, and believed as soon: rates look back over four samples, as they do unless told
// otherwise.
var soon = []string{"--stale-after", "10s", "--rate-window", "20s"}

// dense is a stage whose history, which ended so long ago, has as many samples as live ones.
func dense(t *testing.T, age time.Duration, levels ...float64) scene {
	t.Helper()
	nodes := harness.Nodes("node", len(levels), 8, 32*gigabyte)
	return open(t, nodes, levels, harness.History{Span: history, Age: age, Step: 5 * time.Second}, nil)
}

// Faults of what the extender stands on, which it tells itself.
func TestFaultsBehindTheExtender(t *testing.T) {
	scene := dense(t, 0, 0.93, 0.25, 0.30)
	alone, _ := burst(t, "", batchPods)
	rules := active + "\n[guard]\nrecover_after = \"1s\"\n"
	berth := scene.berth(t, rules, soon...)
	plane.StartScheduler(t, harness.SchedulerOptions{Extender: berth.URL})
	for _, fault := range []struct {
		name, reason   string
		inject, repair func(t *testing.T)
	}{
		{"prometheus stopped", "stale_data",
			func(*testing.T) { scene.monitoring.Stop() },
			func(t *testing.T) { must(t, scene.monitoring.Resume()) }},
		{"prometheus returns NaN", "stale_data",
			func(*testing.T) { scene.monitoring.Exporters(harness.NotANumber) },
			func(*testing.T) { scene.monitoring.Exporters(harness.Honest) }},
		{"the exporters are silent", "stale_data",
			func(*testing.T) { scene.monitoring.Exporters(harness.Silent) },
			func(*testing.T) { scene.monitoring.Exporters(harness.Honest) }},
	} {
		t.Run(strings.ReplaceAll(fault.name, " ", "-"), func(t *testing.T) {
			fault.inject(t)
			waitState(t, berth, "fallback", fault.reason)
			with, _ := create(t, batchPods)
			pace(t, alone, with)
			fault.repair(t)
			waitState(t, berth, "healthy", "")
			before := berth.Metrics(t)
			again, _ := create(t, batchPods)
			// A third would be no influence at all; kube-scheduler's own spreading puts some there, mostly none, once seven of thirty.
			if again.ByNode["node-000"] > batch/4 {
				t.Errorf("%d pods are on the hot node after recovery", again.ByNode["node-000"])
			}
			scored := func(metrics harness.Metrics) float64 {
				return metrics.Sum("berth_scheduler_extender_decisions_total", `answer="scored"`)
			}
			t.Logf("after recovery %.0f of %d answers are scores, and the pods are on %v", scored(berth.Metrics(t))-scored(before), batch, again.ByNode)
		})
	}
	t.Run("the API watch is cut", func(t *testing.T) {
		must(t, plane.RestartAPIServer(func() {}))
		with, _ := create(t, batchPods)
		pace(t, alone, with)
		if with.ByNode["node-000"] > batch/6 {
			t.Errorf("%d pods are on the hot node", with.ByNode["node-000"])
		}
	})
}

// After a silence that is longer than rates look back, the first rates are far too low. Whoever takes them for usage believes that the
// busiest node has most room up to the target.
func TestFaultAfterALongSilence(t *testing.T) {
	needFull(t)
	scene := dense(t, 0, 0.93, 0.25, 0.30)
	berth := scene.berth(t, active+"\n[guard]\nrecover_after = \"1s\"\n", soon...)
	plane.StartScheduler(t, harness.SchedulerOptions{Extender: berth.URL})
	scene.monitoring.Exporters(harness.Silent)
	harness.Eventually(t, "no rate is left", 2*patience, func() error {
		if count := scene.monitoring.Count(t, "rate(node_cpu_seconds_total[20s])"); count > 0 {
			return fmt.Errorf("%d are", count)
		}
		return nil
	})
	waitState(t, berth, "fallback", "stale_data")
	scene.monitoring.Exporters(harness.Honest)
	waitState(t, berth, "healthy", "")
	for range 3 {
		with, _ := create(t, batchPods)
		if with.ByNode["node-000"] > batch/2 {
			t.Errorf("%d of %d pods are on the hot node", with.ByNode["node-000"], batch)
		}
	}
}

// History that ended an hour ago is no news of now.
func TestFaultStaleByAnHour(t *testing.T) {
	scene := dense(t, time.Hour, 0.93, 0.25, 0.30)
	alone, _ := burst(t, "", batchPods)
	berth := plane.StartBerth(t, harness.BerthOptions{
		Prometheus: scene.monitoring.URL, Rules: active + "\n[guard]\nrecover_after = \"1s\"\n", NotReady: true, Arguments: soon,
	})
	// No node of now is known at all.
	waitState(t, berth, "fallback", "no_data")
	with, _ := burst(t, berth.URL, batchPods)
	pace(t, alone, with)
	scene.monitoring.Exporters(harness.Honest)
	waitState(t, berth, "healthy", "")
}

// No model, and a damaged one.
func TestFaultsOfModels(t *testing.T) {
	scene := stage(t, 0.93, 0.25, 0.30)
	alone, _ := burst(t, "", batchPods)
	for _, fault := range []struct {
		name   string
		damage func(t *testing.T, root string) (repair func())
	}{
		{"missing", func(t *testing.T, root string) func() {
			artifacts, aside := root+"/tracking/artifacts", root+"/aside"
			must(t, os.Rename(artifacts, aside))
			return func() { must(t, os.Rename(aside, artifacts)) }
		}},
		{"corrupt", damageModels},
	} {
		t.Run(fault.name, func(t *testing.T) {
			root := harness.Models(t)
			repair := fault.damage(t, root)
			berth := plane.StartBerth(t, harness.BerthOptions{
				Prometheus: scene.monitoring.URL, Rules: active + "\n[guard]\nrecover_after = \"1s\"\n", Root: root, NotReady: true,
				Arguments: []string{"--reload-every", "1s"},
			})
			waitState(t, berth, "fallback", "no_models")
			with, _ := burst(t, berth.URL, batchPods)
			pace(t, alone, with)
			repair()
			waitState(t, berth, "healthy", "")
		})
	}
}

// damageModels overwrites the models' weights; `repair` puts them back.
func damageModels(t *testing.T, root string) (repair func()) {
	t.Helper()
	whole := map[string][]byte{}
	for _, file := range harness.ModelFiles(t, root, "/model/") {
		if strings.HasSuffix(file, ".ubj") || strings.HasSuffix(file, ".bin") || strings.HasSuffix(file, ".safetensors") {
			bytes, err := os.ReadFile(file)
			must(t, err)
			whole[file] = bytes
			must(t, os.WriteFile(file, []byte("damaged"), 0o644))
		}
	}
	return func() {
		for file, bytes := range whole {
			must(t, os.WriteFile(file+".next", bytes, 0o644))
			must(t, os.Rename(file+".next", file))
		}
	}
}

// waitState waits until the extender shows a state and its reason.
func waitState(t *testing.T, berth *harness.Berth, state, reason string) {
	t.Helper()
	berth.Within(t, patience, fmt.Sprintf("the state is `%s`, for `%s`", state, reason), func(metrics harness.Metrics) bool {
		is := metrics.Sum("berth_scheduler_extender_state", `state="`+state+`"`) == 1
		return is && (reason == "" || metrics.Sum("berth_scheduler_extender_reason", `reason="`+reason+`"`) == 1)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
