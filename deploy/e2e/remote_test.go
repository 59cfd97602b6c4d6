package e2e

import (
	"testing"

	"berth/e2e/harness"
)

// Scores that a serving elsewhere works out: kube-scheduler asks the extender, the extender asks serving, and pods keep away from the hot
// node as with scores of the extender's own. Without serving they are bound as if neither were there.
func TestRemoteScoring(t *testing.T) {
	scene := stage(t, 0.93, 0.25, 0.30, 0.35)
	serving := plane.StartServing(t, harness.ServingOptions{Prometheus: scene.monitoring.URL})
	berth := plane.StartBerth(t, harness.BerthOptions{Scoring: serving.URL, Rules: active})
	pods := harness.Pods{Workload: "cart", Count: 20, CPU: "200m", Memory: "256Mi"}
	alone, _ := burst(t, "", pods)
	with, bound := burst(t, berth.URL, pods)
	t.Logf("alone: %s\nwith scores of serving: %s", table(alone.ByNode, "%d"), table(with.ByNode, "%d"))
	if alone.ByNode["node-000"] == 0 {
		t.Error("kube-scheduler alone avoids the hot node by itself, so this proves nothing")
	}
	avoided(t, berth, with, "node-000")
	checkExplained(t, berth, bound[0])
	asked := serving.Metrics(t)
	if answered := asked.Sum("berth_serving_requests_total", `model="score"`, `outcome="ok"`); answered < float64(pods.Count) {
		t.Errorf("serving has answered %.0f requests for scores of %d pods", answered, pods.Count)
	}
	for _, outcome := range []string{"failed", "refused"} {
		if count := asked.Sum("berth_serving_requests_total", `model="score"`, `outcome="`+outcome+`"`); count > 0 {
			t.Errorf("%.0f requests for scores are %s: the two do not understand each other", count, outcome)
		}
	}
	var explained struct{ Versions map[string]string }
	berth.JSON(t, "/explain/"+bound[0].Pod.Namespace+"/"+bound[0].Pod.Name, &explained)
	if len(explained.Versions) != 3 {
		t.Errorf("the explanation names the versions %v, want those of three models", explained.Versions)
	}

	// It waits until all are bound.
	serving.Stop()
	without, _ := burst(t, berth.URL, pods)
	t.Logf("without serving: %s", table(without.ByNode, "%d"))
}
