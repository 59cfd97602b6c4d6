package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	extender "k8s.io/kube-scheduler/extender/v1"

	"berth/e2e/harness"
)

// OpportunisticBatching: kube-scheduler reuses the list of nodes only for pods of which one fills a node, only in a profile without
// default spread constraints, and never where an extender is configured. With Berth it asks about each pod.
func TestOperationsBatching(t *testing.T) {
	const count = 20
	plane.CreateNodes(t, harness.Nodes("node", 2*count, 8, 32*gigabyte))
	unspread := func(config, _ map[string]any) {
		config["profiles"] = []any{map[string]any{
			"schedulerName": "default-scheduler",
			"pluginConfig": []any{map[string]any{
				"name": "PodTopologySpread", "args": map[string]any{"defaultConstraints": []any{}, "defaultingType": "List"},
			}},
		}}
	}
	wire := plane.OpenWire(t, harness.Prioritize(func(string) int64 { return 0 }))
	large, small := "5", "100m"
	for _, arm := range []struct {
		name, extender, cpu string
		edit                func(config, extender map[string]any)
		batched             bool
	}{
		{"alone, default profile", "", large, nil, false},
		{"alone, no spread constraints, small pods", "", small, unspread, false},
		{"alone, no spread constraints, large pods", "", large, unspread, true},
		{"with an extender, no spread constraints, large pods", wire.URL, large, unspread, false},
	} {
		t.Run(strings.ReplaceAll(arm.name, " ", "-"), func(t *testing.T) {
			namespace := newNamespace(t)
			defer plane.RemovePods(t, namespace)
			bindings := plane.WatchPods(t, namespace)
			// They wait in the queue when kube-scheduler begins, so that one follows the other at once.
			plane.CreatePods(t, harness.Pods{Namespace: namespace, Workload: "cart", Count: count, CPU: arm.cpu, Memory: "64Mi"})
			wire.Forget()
			scheduler := plane.StartScheduler(t, harness.SchedulerOptions{Extender: arm.extender, Edit: arm.edit})
			defer scheduler.Stop()
			bindings.Wait(t, count, patience)
			hints := scheduler.Metrics(t).Sum("scheduler_batch_attempts_total", `result="hint_used"`)
			t.Logf("%.0f of %d pods took the node of a batch; the extender was asked %d times", hints, count, len(wire.Calls()))
			if (hints > 0) != arm.batched {
				t.Errorf("%.0f pods took the node of a batch", hints)
			}
			if arm.extender != "" && len(wire.Calls()) != count {
				t.Errorf("the extender was asked %d times about %d pods", len(wire.Calls()), count)
			}
			log, err := os.ReadFile(scheduler.Log)
			must(t, err)
			if says := strings.Contains(string(log), "Disabling signatures for profile"); says != (arm.extender != "") {
				t.Errorf("kube-scheduler says that it never batches: %v", says)
			}
		})
	}
}

// descheduler: it evicts through the API, and what comes in the pod's place is placed by scores instead of going back. What evicted
// pods had reserved is free at once.
func TestOperationsDescheduler(t *testing.T) {
	scene := stage(t, 0.93, 0.20, 0.30, 0.40)
	pods := harness.Pods{Workload: "cart", Count: 12, CPU: "200m", Memory: "64Mi"}
	// cycle puts pods onto all nodes with kube-scheduler alone, evicts those of the hot node and tells where new ones go.
	cycle := func(t *testing.T, extender string) (evicted int, back int) {
		t.Helper()
		pods.Namespace = newNamespace(t)
		defer plane.RemovePods(t, pods.Namespace)
		bindings := plane.WatchPods(t, pods.Namespace)
		alone := plane.StartScheduler(t, harness.SchedulerOptions{Name: "alone"})
		plane.CreatePods(t, pods)
		bindings.Wait(t, pods.Count, patience)
		alone.Stop()
		evicted = evict(t, bindings.All(), "node-000")
		scheduler := plane.StartScheduler(t, harness.SchedulerOptions{Extender: extender})
		defer scheduler.Stop()
		replacements := pods
		replacements.First, replacements.Count = pods.Count, evicted
		plane.CreatePods(t, replacements)
		placement := bindings.Wait(t, pods.Count+evicted, patience)
		return evicted, placement.ByNode["node-000"] - evicted
	}
	evicted, back := cycle(t, "")
	t.Logf("alone: %d of %d come back to the node that they were evicted from", back, evicted)
	if back == 0 {
		t.Error("kube-scheduler alone does not put pods back onto the hot node, so this proves nothing")
	}
	berth := scene.berth(t, active)
	evicted, back = cycle(t, berth.URL)
	t.Logf("with Berth: %d of %d come back", back, evicted)
	if neutral := berth.Metrics(t).Sum("berth_scheduler_extender_neutral_answers_total"); evicted == 0 || float64(back) > neutral {
		t.Errorf("%d of %d pods come back to the hot node, and %.0f answers were neutral", back, evicted, neutral)
	}
	checkReservations(t, berth, pods)
}

// checkReservations evicts pods of a node soon after they were bound.
func checkReservations(t *testing.T, berth *harness.Berth, pods harness.Pods) {
	t.Helper()
	plane.StartScheduler(t, harness.SchedulerOptions{Extender: berth.URL})
	pods.Namespace = newNamespace(t)
	defer plane.RemovePods(t, pods.Namespace)
	bindings := plane.WatchPods(t, pods.Namespace)
	reserved := func() int {
		var state struct{ Reserved struct{ Pods int } }
		berth.JSON(t, "/v1/state", &state)
		return state.Reserved.Pods
	}
	// Nothing is left of the pods before: their namespace was emptied.
	harness.Eventually(t, "nothing is reserved", patience, func() error { return want(reserved(), 0) })
	plane.CreatePods(t, pods)
	placement := bindings.Wait(t, pods.Count, patience)
	harness.Eventually(t, "all are reserved", patience, func() error { return want(reserved(), pods.Count) })
	gone := func() float64 {
		return berth.Metrics(t).Sum("berth_scheduler_extender_reservations_released_total", `reason="gone"`)
	}
	before := gone()
	for node := range placement.ByNode {
		evicted := evict(t, bindings.All(), node)
		harness.Eventually(t, "what they reserved is free", patience, func() error { return want(reserved(), pods.Count-evicted) })
		if released := gone() - before; released != float64(evicted) {
			t.Errorf("%d pods were evicted and %.0f reservations ended for it", evicted, released)
		}
		return
	}
}

func want(got, wanted int) error {
	if got != wanted {
		return fmt.Errorf("%d are, want %d", got, wanted)
	}
	return nil
}

// evict evicts all pods of a node through the Eviction API, waits until they are gone and tells how many they were.
func evict(t *testing.T, all []harness.Bound, node string) int {
	t.Helper()
	evicted := 0
	for _, one := range all {
		if one.Node != node {
			continue
		}
		api := plane.Client.CoreV1().Pods(one.Pod.Namespace)
		must(t, api.EvictV1(context.Background(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: one.Pod.Name}}))
		harness.Eventually(t, "the evicted pod is gone", patience, func() error {
			_, err := api.Get(context.Background(), one.Pod.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is there: %v", err)
		})
		evicted++
	}
	return evicted
}

// Cluster Autoscaler adds nodes for pods that kube-scheduler calls unschedulable. What it reads there is word for word the same with
// Berth, with scores and with the filter, and a node that it adds is used at once though no metric knows it.
func TestOperationsAutoscaler(t *testing.T) {
	scene := stage(t, 0.93, 0.20, 0.30, 0.40)
	alone := plane.StartScheduler(t, harness.SchedulerOptions{})
	wanted := unschedulable(t)
	alone.Stop()
	t.Logf("%s: %s", wanted.Reason, wanted.Message)
	berth := scene.berth(t, active+"\nfilter = true\n")
	for name, edit := range map[string]func(config, extender map[string]any){"scores": nil, "filter": withFilter(true)} {
		scheduler := plane.StartScheduler(t, harness.SchedulerOptions{Extender: berth.URL, Edit: edit, Name: name})
		if got := unschedulable(t); got.Reason != wanted.Reason || got.Message != wanted.Message {
			t.Errorf("with %s the condition is %s: %s", name, got.Reason, got.Message)
		}
		scheduler.Stop()
	}
	plane.StartScheduler(t, harness.SchedulerOptions{Extender: berth.URL, Edit: withFilter(true)})
	namespace := newNamespace(t)
	defer plane.RemovePods(t, namespace)
	bindings := plane.WatchPods(t, namespace)
	plane.CreatePods(t, colossal(namespace))
	harness.Eventually(t, "the pod waits", patience, func() error { return waits(bindings) })
	plane.CreateNodes(t, harness.Nodes("added", 1, 2*colossalCores, 32*gigabyte))
	if placement := bindings.Wait(t, 1, patience); placement.ByNode["added-000"] != 1 {
		t.Errorf("the pod is on %v", placement.ByNode)
	}
	// One of five nodes is not named by metrics, which is more than a tenth.
	waitState(t, berth, "fallback", "nodes_unmatched")
}

const colossalCores = 64

// colossal is a pod that fits on no node of 8 cores.
func colossal(namespace string) harness.Pods {
	return harness.Pods{Namespace: namespace, Workload: "colossal", Count: 1, CPU: fmt.Sprint(colossalCores), Memory: "64Mi"}
}

// unschedulable is the condition of a pod that fits nowhere.
func unschedulable(t *testing.T) corev1.PodCondition {
	t.Helper()
	namespace := newNamespace(t)
	defer plane.RemovePods(t, namespace)
	bindings := plane.WatchPods(t, namespace)
	plane.CreatePods(t, colossal(namespace))
	harness.Eventually(t, "the pod waits", patience, func() error { return waits(bindings) })
	return *condition(bindings)
}

// waits holds that the only pod has a reason to wait.
func waits(bindings *harness.Bindings) error {
	is := condition(bindings)
	if is == nil || is.Status != corev1.ConditionFalse || is.Reason != corev1.PodReasonUnschedulable {
		return fmt.Errorf("its condition is %v", is)
	}
	return nil
}

func condition(bindings *harness.Bindings) *corev1.PodCondition {
	for _, one := range bindings.All() {
		for _, is := range one.Pod.Status.Conditions {
			if is.Type == corev1.PodScheduled {
				return &is
			}
		}
	}
	return nil
}

// With the filter on and every node hot, half of them are rejected and every pod finds a place.
func TestOperationsFilterLeavesAPlace(t *testing.T) {
	scene := stage(t, 0.97, 0.98, 0.99, 0.99, 0.98)
	berth := scene.berth(t, active+"\nfilter = true\n")
	wire := plane.OpenWire(t, plane.Through(berth.URL))
	plane.StartScheduler(t, harness.SchedulerOptions{Extender: wire.URL, Edit: withFilter(true)})
	placement, _ := create(t, batchPods)
	most := 0
	for _, call := range answered(wire) {
		if call.Path != "/filter" {
			continue
		}
		var result extender.ExtenderFilterResult
		must(t, json.Unmarshal(call.Answer, &result))
		most = max(most, len(result.FailedAndUnresolvableNodes))
		if left := len(*result.NodeNames); left < 3 {
			t.Errorf("%d of 5 nodes are left: %s", left, call.Answer)
		}
	}
	t.Logf("%s; at most %d of 5 nodes were rejected", placement, most)
	if most != 2 {
		t.Errorf("at most %d of 5 nodes were rejected, want 2", most)
	}
}
