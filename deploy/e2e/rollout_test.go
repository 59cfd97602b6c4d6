package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	extender "k8s.io/kube-scheduler/extender/v1"

	"berth/e2e/harness"
)

// wired puts a recorder between a kube-scheduler and the extender.
func wired(t *testing.T, berth *harness.Berth) *harness.Wire {
	t.Helper()
	wire := plane.OpenWire(t, plane.Through(berth.URL))
	plane.StartScheduler(t, harness.SchedulerOptions{Extender: wire.URL})
	return wire
}

// answered are the calls that came back. On a busy machine kube-scheduler gives up on some, which is no answer.
func answered(wire *harness.Wire) []harness.Call {
	return slices.DeleteFunc(wire.Calls(), func(call harness.Call) bool { return call.Status != http.StatusOK })
}

// scores are those of one answer.
func scores(t *testing.T, call harness.Call) []int64 {
	t.Helper()
	var list extender.HostPriorityList
	if err := json.Unmarshal(call.Answer, &list); err != nil {
		t.Fatalf("the extender answers `%s`: %v", call.Answer, err)
	}
	var all []int64
	for _, one := range list {
		all = append(all, one.Score)
	}
	return all
}

// isNeutral tells whether all nodes have the same score.
func isNeutral(t *testing.T, call harness.Call) bool {
	t.Helper()
	return len(slices.Compact(scores(t, call))) <= 1
}

func podOf(t *testing.T, call harness.Call) *corev1.Pod {
	t.Helper()
	var arguments extender.ExtenderArgs
	if err := json.Unmarshal(call.Body, &arguments); err != nil {
		t.Fatal(err)
	}
	return arguments.Pod
}

// Group 4: in shadow every answer is neutral on the wire, and the report counts agreement and the gain to expect.
func TestShadowIsNeutralAndReports(t *testing.T) {
	scene := stage(t, 0.93, 0.20, 0.30, 0.40)
	berth := scene.berth(t, `mode = "shadow"`)
	wire := wired(t, berth)
	pods := harness.Pods{Workload: "cart", Count: 40, CPU: "100m", Memory: "64Mi"}
	placement, _ := create(t, pods)
	calls := answered(wire)
	for at, call := range calls {
		if !isNeutral(t, call) {
			t.Fatalf("answer %d is not neutral: %s", at, call.Answer)
		}
	}
	if len(calls) < pods.Count/2 {
		t.Errorf("%d calls for %d pods", len(calls), pods.Count)
	}
	t.Logf("%d calls, all neutral; pods are on %s", len(calls), table(placement.ByNode, "%d"))
	if placement.ByNode["node-000"] == 0 {
		t.Error("no pod is on the hot node: the extender had influence")
	}
	type tally struct {
		Outcomes, Agreed, Hot int
		BestHot               int `json:"best_hot"`
		Gain                  float64
	}
	var report struct {
		Comparison struct{ Neutral, Scored tally }
		InWords    []string `json:"in_words"`
	}
	harness.Eventually(t, "the report knows all pods that were scored", patience, func() error {
		berth.JSON(t, "/v1/shadow", &report)
		if report.Comparison.Neutral.Outcomes < len(calls) {
			return fmt.Errorf("it knows %d of %d", report.Comparison.Neutral.Outcomes, len(calls))
		}
		return nil
	})
	t.Logf("the report: %s", report.InWords)
	neutral := report.Comparison.Neutral
	if report.Comparison.Scored.Outcomes != 0 || neutral.Agreed == neutral.Outcomes || neutral.Gain <= 0 {
		t.Errorf("%+v: want no scored pod, some that disagree, and a gain", report.Comparison)
	}
	if neutral.Hot < placement.ByNode["node-000"] || neutral.BestHot != 0 {
		t.Errorf("%d pods went to hot nodes and %d would have with Berth, want at least %d and none", neutral.Hot, neutral.BestHot, placement.ByNode["node-000"])
	}
}

// Group 4: a canary moves the stated share of workloads, and always the same ones.
func TestCanaryMovesTheStatedShare(t *testing.T) {
	scene := stage(t, 0.93, 0.20, 0.30, 0.40)
	berth := scene.berth(t, "mode = \"canary\"\npercent = 30.0\n")
	wire := wired(t, berth)
	const workloads, each = 60, 2
	namespace := plane.TestNamespace(t, "canary")
	bindings := plane.WatchPods(t, namespace)
	for at := range workloads {
		plane.CreatePods(t, harness.Pods{
			Namespace: namespace, Workload: fmt.Sprintf("app-%02d", at), Count: each, CPU: "50m", Memory: "32Mi",
		})
	}
	bindings.Wait(t, workloads*each, patience)
	moved := map[string][]bool{}
	for _, call := range answered(wire) {
		workload := podOf(t, call).Labels["app"]
		moved[workload] = append(moved[workload], !isNeutral(t, call))
	}
	count := 0
	for workload, answers := range moved {
		if len(slices.Compact(answers)) != 1 {
			t.Errorf("pods of `%s` are answered differently: %v", workload, answers)
		}
		if answers[0] {
			count++
		}
	}
	t.Logf("%d of %d workloads are moved at 30 %%", count, len(moved))
	// 18 are expected; the hash is right or wrong for good, and 8..28 holds 99.6 % of the right ones.
	if len(moved) != workloads || count < 8 || count > 28 {
		t.Errorf("%d of %d workloads are moved, want about 18 of 60", count, len(moved))
	}
}

// Group 4: the kill switch ends all influence in the middle of a burst.
func TestKillSwitchWorksMidBurst(t *testing.T) {
	scene := stage(t, 0.93, 0.20, 0.30, 0.40)
	berth := scene.berth(t, active)
	wire := wired(t, berth)
	namespace := plane.TestNamespace(t, "kill-switch")
	bindings := plane.WatchPods(t, namespace)
	// The switch comes while pods are still being created.
	const count = 400
	created := make(chan struct{})
	go func() {
		defer close(created)
		plane.CreatePods(t, harness.Pods{Namespace: namespace, Workload: "cart", Count: count, CPU: "50m", Memory: "32Mi"})
	}()
	harness.Eventually(t, "the burst is under way", patience, func() error {
		if len(wire.Calls()) < 20 {
			return fmt.Errorf("%d calls", len(wire.Calls()))
		}
		return nil
	})
	berth.KillSwitch(t, true)
	flipped := time.Now()
	<-created
	bindings.Wait(t, count, patience)
	calls := answered(wire)
	var last time.Duration
	neutral := 0
	for _, call := range calls {
		switch since := call.At.Sub(flipped); {
		case isNeutral(t, call):
			neutral++
		case since > last:
			last = since
		}
	}
	t.Logf("the last score came %v after the switch; %d of %d answers are neutral", last, neutral, len(calls))
	if last > time.Second || neutral == 0 || neutral == len(calls) {
		t.Errorf("the last score came %v after the switch (want a second at most), %d of %d answers are neutral", last, neutral, len(calls))
	}
	berth.KillSwitch(t, false)
	harness.Eventually(t, "scores come again", patience, func() error {
		wire.Forget()
		create(t, harness.Pods{Workload: "after", Count: 3, CPU: "50m", Memory: "32Mi"})
		for _, call := range answered(wire) {
			if !isNeutral(t, call) {
				return nil
			}
		}
		return fmt.Errorf("all answers are neutral")
	})
}

// A pod that opts out is answered neutrally whatever the mode.
func TestOptOut(t *testing.T) {
	scene := stage(t, 0.93, 0.20, 0.30)
	berth := scene.berth(t, active)
	wire := wired(t, berth)
	create(t, harness.Pods{
		Workload: "stubborn", Count: 6, CPU: "100m", Memory: "64Mi", Annotations: map[string]string{"berth.io/opt-out": "true"},
	})
	for _, call := range answered(wire) {
		if strings.HasPrefix(podOf(t, call).Name, "stubborn") && !isNeutral(t, call) {
			t.Errorf("a pod that opted out is scored: %s", call.Answer)
		}
	}
}
