package e2e

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"berth/e2e/harness"
)

// The steps of docs/operations.md from nothing to active and back, each as it is written there. What the tests of group 4 try already
// (neutral answers of shadow, the kill file, the opt-out) is not tried again.

// certified lets kube-scheduler show a certificate of the cluster's authority.
func certified(t *testing.T) func(config, extender map[string]any) {
	t.Helper()
	pair, err := plane.Authority.Issue("kube-scheduler", nil, harness.Tomorrow())
	must(t, err)
	certificate, key, err := pair.Write(t.TempDir(), "client")
	must(t, err)
	return func(_, extender map[string]any) {
		trust := extender["tlsConfig"].(map[string]any)
		trust["certFile"], trust["keyFile"] = certificate, key
	}
}

// Install: with certificates on both sides and no rules but the defaults, pods are seen and left alone. Who shows no certificate is
// let in to the probes alone, and a kube-scheduler without one binds its pods all the same.
func TestOperationsInstall(t *testing.T) {
	scene := stage(t, 0.93, 0.20, 0.30, 0.40)
	berth := plane.StartBerth(t, harness.BerthOptions{Prometheus: scene.monitoring.URL, KnowsClients: true})
	scheduler := plane.StartScheduler(t, harness.SchedulerOptions{Extender: berth.URL, Edit: certified(t)})
	for path, open := range map[string]bool{"/readyz": true, "/healthz": true, "/metrics": true, "/v1/state": false, "/v1/shadow": false} {
		if _, err := harness.Fetch(http.DefaultClient, berth.ProbeURL+path); (err == nil) != open {
			t.Errorf("`%s` for a probe: %v", path, err)
		}
	}
	pods := harness.Pods{Workload: "cart", Count: 20, CPU: "100m", Memory: "64Mi"}
	create(t, pods)
	metrics := berth.Metrics(t)
	asked := metrics.Sum("berth_scheduler_extender_requests_total", `verb="prioritize"`, `outcome="ok"`)
	if shadow := metrics.Sum("berth_scheduler_extender_mode", `mode="shadow"`); asked != float64(pods.Count) || shadow != 1 {
		t.Errorf("%.0f pods of %d were asked about, and the mode is %.0f times shadow", asked, pods.Count, shadow)
	}
	if failed := failures(t, scheduler); len(failed) > 0 {
		t.Errorf("calls failed: %s", strings.Join(failed, "\n"))
	}
	scheduler.Stop()
	stranger := plane.StartScheduler(t, harness.SchedulerOptions{Extender: berth.URL, Name: "stranger"})
	create(t, pods)
	again := berth.Metrics(t).Sum("berth_scheduler_extender_requests_total", `verb="prioritize"`)
	if berth.Metrics(t).Sum("berth_scheduler_extender_tls_handshakes_failed_total") == 0 {
		t.Error("the extender does not tell that somebody was not let in")
	}
	if failed := failures(t, stranger); again != asked || len(failed) == 0 {
		t.Errorf("without a certificate %.0f calls came through, and kube-scheduler tells of %d that failed", again-asked, len(failed))
	}
}

// Shadow: the report and the explanation on the command line, of the running process, with a certificate to show, and of the table.
func TestOperationsReportAndExplain(t *testing.T) {
	scene := stage(t, 0.93, 0.20, 0.30, 0.40)
	berth := plane.StartBerth(t, harness.BerthOptions{Prometheus: scene.monitoring.URL, KnowsClients: true})
	const count = 20
	scheduler := plane.StartScheduler(t, harness.SchedulerOptions{Extender: berth.URL, Edit: certified(t)})
	_, bound := create(t, harness.Pods{Workload: "cart", Count: count, CPU: "100m", Memory: "64Mi"})
	scheduler.Stop()
	authority := plane.AuthorityFile()
	harness.Eventually(t, "the report knows all pods", patience, func() error {
		said := berth.Ask(t, authority, "report")
		if !strings.Contains(said, fmt.Sprintf("%d pods were placed by kube-scheduler alone", count)) {
			return fmt.Errorf("it says %s", said)
		}
		return nil
	})
	t.Logf("%s", berth.Ask(t, authority, "report"))
	one := bound[0]
	name := one.Pod.Namespace + "/" + one.Pod.Name
	said := berth.Ask(t, authority, "explain", name)
	t.Logf("%s", said)
	for _, wanted := range []string{"all 4 candidates are equal", "The pod went to " + one.Node, "node-000", "shadow"} {
		if !strings.Contains(said, wanted) {
			t.Errorf("the explanation of %s does not say `%s`", name, wanted)
		}
	}
	unknown := berth.Command(t, nil, "explain", one.Pod.Namespace+"/nobody", "--server", berth.URL, "--ca-file", authority)
	if unknown.Code != 1 || !strings.Contains(unknown.Errors, "no decision on") {
		t.Errorf("the explanation of nobody ends with %d: %s", unknown.Code, unknown.Errors)
	}
	// The table outlives the process; a pod's row is written when its node is known.
	berth.Stop()
	kept := berth.Command(t, nil, "report", "--days", "1")
	t.Logf("%s", kept.Output)
	if kept.Code != 0 || !strings.Contains(kept.Output, fmt.Sprintf("%d decisions", count)) {
		t.Errorf("the report of the table ends with %d: %s%s", kept.Code, kept.Output, kept.Errors)
	}
}

// ramp is a process in which workloads of always the same names are asked about.
type ramp struct {
	berth     *harness.Berth
	wire      *harness.Wire
	namespace string
}

const rampWorkloads = 60

// tolerant rules are not about speed, which other processes of the machine take part in.
const tolerant = "\n[guard]\nlatency = \"1m\"\nmiss_rate = 1.0\n"

// reasons makes one pod of each workload and tells by workload why its answer was neutral, empty where it was not. Pods of a busy
// machine whose call was given up are left out.
func (r ramp) reasons(t *testing.T) map[string]string {
	t.Helper()
	r.wire.Forget()
	bindings := plane.WatchPods(t, r.namespace)
	for at := range rampWorkloads {
		plane.CreatePods(t, harness.Pods{Namespace: r.namespace, Workload: fmt.Sprintf("app-%02d", at), Count: 1, CPU: "50m", Memory: "32Mi"})
	}
	bindings.Wait(t, rampWorkloads, patience)
	plane.RemovePods(t, r.namespace)
	reasons := map[string]string{}
	for _, call := range answered(r.wire) {
		reasons[podOf(t, call).Labels["app"]] = call.Neutral
	}
	if len(reasons) < rampWorkloads/2 {
		t.Fatalf("%d of %d workloads were answered", len(reasons), rampWorkloads)
	}
	return reasons
}

// rule writes rules and waits until they are in force.
func (r ramp) rule(t *testing.T, rules, mode string, percent float64) {
	t.Helper()
	r.berth.Rules(t, rules+tolerant)
	r.berth.Within(t, patience, fmt.Sprintf("%s at %.0f %% is in force", mode, percent), func(metrics harness.Metrics) bool {
		return metrics.Sum("berth_scheduler_extender_mode", `mode="`+mode+`"`) == 1 &&
			metrics.Sum("berth_scheduler_extender_canary_percent") == percent &&
			metrics.Sum("berth_scheduler_extender_rules_refused") == 0
	})
}

// is are the workloads whose reason is `reason`.
func is(reasons map[string]string, reason string) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for workload, why := range maps.All(reasons) {
			if why == reason && !yield(workload) {
				return
			}
		}
	})
}

// Ramp and back: one process takes in 5, 25, 50 percent, everything, one namespace, nothing, without a restart; what cannot be used is
// refused and changes nothing.
func TestOperationsRamp(t *testing.T) {
	scene := stage(t, 0.93, 0.20, 0.30, 0.40)
	berth := scene.berth(t, tolerant)
	process := berth.PID()
	on := ramp{berth, wired(t, berth), plane.TestNamespace(t, "ramp")}
	if reasons := on.reasons(t); len(is(reasons, "shadow")) != len(reasons) {
		t.Errorf("not all answers are neutral for shadow: %v", reasons)
	}
	var share []string
	for _, percent := range []float64{5, 25, 50} {
		on.rule(t, fmt.Sprintf("mode = \"canary\"\npercent = %.1f\n", percent), "canary", percent)
		reasons := on.reasons(t)
		outside := is(reasons, "not_in_canary")
		// Whoever was in stays in: the hash is the same, only the limit moves.
		for _, workload := range share {
			if slices.Contains(outside, workload) {
				t.Errorf("`%s` was in the canary before %.0f %% and is not any more", workload, percent)
			}
		}
		share = slices.DeleteFunc(slices.Sorted(maps.Keys(reasons)), func(it string) bool { return slices.Contains(outside, it) })
		t.Logf("%.0f %%: %d of %d workloads", percent, len(share), len(reasons))
		// Names are always the same, so this is right or wrong for good: four standard deviations around what is stated.
		expected := percent / 100 * float64(len(reasons))
		if spread := 4 * math.Sqrt(expected*(1-percent/100)); abs(float64(len(share))-expected) > spread {
			t.Errorf("%d of %d workloads are in the canary at %.0f %%", len(share), len(reasons), percent)
		}
	}
	checkRefusals(t, on, share)
	gain := func(answer string) float64 {
		return berth.Metrics(t).Sum("berth_scheduler_extender_expected_gain_score", `answer="`+answer+`"`)
	}
	harness.Eventually(t, "pods of the canary leave less on the table", patience, func() error {
		if scored, neutral := gain("scored"), gain("neutral"); scored >= neutral {
			return fmt.Errorf("%.3f with scores, %.3f without", scored, neutral)
		}
		return nil
	})
	t.Logf("left on the table: %.3f with scores, %.3f without", gain("scored"), gain("neutral"))
	on.rule(t, active, "active", 0)
	if scored := is(on.reasons(t), ""); len(scored) < rampWorkloads/2 {
		t.Errorf("%d of %d workloads are answered with scores when active", len(scored), rampWorkloads)
	}
	for _, step := range []struct{ rules, mode, reason string }{
		{active + "\n[scope]\nnamespaces = [\"another\"]\n", "active", "out_of_scope"},
		{active + "\nkill = true\n", "active", "killed"},
		{`mode = "shadow"`, "shadow", "shadow"},
	} {
		// The step before has the same mode: what tells them apart is the reason.
		berth.Rules(t, step.rules+tolerant)
		harness.Eventually(t, "all answers are neutral for "+step.reason, patience, func() error {
			if reasons := on.reasons(t); len(is(reasons, step.reason)) != len(reasons) {
				return fmt.Errorf("they are %v", reasons)
			}
			return nil
		})
	}
	if berth.Ended() || berth.PID() != process {
		t.Error("the process is another one")
	}
}

// checkRefusals writes rules that cannot be used, and the good ones again.
func checkRefusals(t *testing.T, on ramp, share []string) {
	t.Helper()
	for _, broken := range []string{`mode = "activ"`, "mode = \"canary\"\npercent = 500.0", "mod = \"active\"", "mode = "} {
		on.berth.Rules(t, broken)
		on.berth.Within(t, patience, "the file is refused", func(metrics harness.Metrics) bool {
			return metrics.Sum("berth_scheduler_extender_rules_refused") == 1
		})
		var state struct {
			RulesRefused string `json:"rules_refused"`
			Rules        struct {
				Mode    string
				Percent float64
			}
		}
		on.berth.JSON(t, "/v1/state", &state)
		if state.RulesRefused == "" || state.Rules.Mode != "canary" || state.Rules.Percent != 50 {
			t.Errorf("after `%s` the state is %+v", broken, state)
		}
		t.Logf("refused: %s", state.RulesRefused)
		// Back to the good ones, so that the next file is refused anew.
		if broken != "mode = " {
			on.rule(t, "mode = \"canary\"\npercent = 50.0\n", "canary", 50)
		}
	}
	started := on.berth.Command(t, nil, "run", "--listen", "127.0.0.1:0", "--rules", on.berth.RulesFile())
	if started.Code == 0 || !strings.Contains(started.Errors, "string values must be quoted") {
		t.Errorf("a process that begins with such rules ends with %d: %s", started.Code, started.Errors)
	}
	reasons := on.reasons(t)
	outside := is(reasons, "not_in_canary")
	if len(outside)+len(share) != rampWorkloads {
		t.Errorf("%d workloads are outside and %d were inside before, of %d", len(outside), len(share), rampWorkloads)
	}
}

// Uninstall: first the stanza, then the extender. Pods that were placed stay where they are, and nodes are as they were.
func TestOperationsUninstall(t *testing.T) {
	scene := stage(t, 0.93, 0.20, 0.30, 0.40)
	berth := scene.berth(t, active)
	with := plane.StartScheduler(t, harness.SchedulerOptions{Extender: berth.URL, Name: "with"})
	namespace := plane.TestNamespace(t, "uninstall")
	bindings := plane.WatchPods(t, namespace)
	add := func(first int) harness.Pods {
		return harness.Pods{Namespace: namespace, Workload: "cart", First: first, Count: batch, CPU: "50m", Memory: "32Mi"}
	}
	plane.CreatePods(t, add(0))
	bindings.Wait(t, batch, patience)
	before := bindings.All()
	with.Stop()
	// Those that come while kube-scheduler is away wait for it.
	plane.CreatePods(t, add(batch))
	asked := func() float64 { return berth.Metrics(t).Sum("berth_scheduler_extender_requests_total") }
	calls := asked()
	alone := plane.StartScheduler(t, harness.SchedulerOptions{Name: "alone"})
	bindings.Wait(t, 2*batch, patience)
	if calls == 0 || asked() != calls {
		t.Errorf("%.0f calls with the stanza, %.0f more without it", calls, asked()-calls)
	}
	berth.Stop()
	plane.CreatePods(t, add(2*batch))
	bindings.Wait(t, 3*batch, patience)
	if failed := failures(t, alone); len(failed) > 0 {
		t.Errorf("kube-scheduler misses the extender: %s", strings.Join(failed, "\n"))
	}
	untouched(t, before)
}

// untouched holds that pods are where they were, and that nodes have no taint.
func untouched(t *testing.T, before []harness.Bound) {
	t.Helper()
	all := context.Background()
	for _, was := range before {
		pod, err := plane.Client.CoreV1().Pods(was.Pod.Namespace).Get(all, was.Pod.Name, metav1.GetOptions{})
		must(t, err)
		if pod.UID != was.Pod.UID || pod.Spec.NodeName != was.Node || pod.DeletionTimestamp != nil {
			t.Errorf("pod `%s` was on `%s` and is not as it was", was.Pod.Name, was.Node)
		}
	}
	nodes, err := plane.Client.CoreV1().Nodes().List(all, metav1.ListOptions{})
	must(t, err)
	for _, node := range nodes.Items {
		if len(node.Spec.Taints) > 0 {
			t.Errorf("node `%s` has the taints %v", node.Name, node.Spec.Taints)
		}
	}
}

// Uninstall in the other order: kube-scheduler goes on by itself, and says so until its stanza is gone.
func TestOperationsUninstallTheExtenderFirst(t *testing.T) {
	scene := stage(t, 0.93, 0.20, 0.30, 0.40)
	berth := scene.berth(t, active)
	with := plane.StartScheduler(t, harness.SchedulerOptions{Extender: berth.URL, Name: "with"})
	placed, _ := create(t, batchPods)
	if placed.ByNode["node-000"] > batch/6 {
		t.Errorf("%d pods are on the hot node: the extender had no influence", placed.ByNode["node-000"])
	}
	berth.Stop()
	must(t, os.RemoveAll(filepath.Join(berth.Root, "tracking")))
	create(t, batchPods)
	if len(failures(t, with)) == 0 {
		t.Error("kube-scheduler does not say that the extender is gone")
	}
	with.Stop()
	alone := plane.StartScheduler(t, harness.SchedulerOptions{Name: "alone"})
	create(t, batchPods)
	if failed := failures(t, alone); len(failed) > 0 {
		t.Errorf("kube-scheduler misses the extender: %s", strings.Join(failed, "\n"))
	}
}
