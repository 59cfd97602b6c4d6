package e2e

import (
	"testing"
	"time"

	"berth/e2e/harness"
)

// Group 1: a node that has just been rebooted is in quarantine, by the detector's rule.
func TestChoiceAvoidsAQuarantinedNode(t *testing.T) {
	nodes := harness.Nodes("node", 4, 8, 32*gigabyte)
	scene := open(t, nodes, []float64{0.25, 0.25, 0.30, 0.30}, harness.History{Span: history}, func(machine *harness.Machine) {
		if machine.Name == "node-000" {
			// The detector reads the mean uptime of the last five minutes, and its rule ends at a quarter of an hour.
			machine.Rebooted = 8 * time.Minute
		}
	})
	pods := harness.Pods{Workload: "cart", Count: 20, CPU: "200m", Memory: "256Mi"}
	alone, _ := burst(t, "", pods)
	berth := scene.berth(t, active)
	with, bound := burst(t, berth.URL, pods)
	t.Logf("alone: %s\nwith Berth: %s", table(alone.ByNode, "%d"), table(with.ByNode, "%d"))
	t.Logf("why: %s", berth.Text(t, "/explain/"+bound[0].Pod.Namespace+"/"+bound[0].Pod.Name+"?format=text"))
	if alone.ByNode["node-000"] == 0 {
		t.Error("kube-scheduler alone avoids the rebooted node by itself, so this proves nothing")
	}
	avoided(t, berth, with, "node-000")
}
