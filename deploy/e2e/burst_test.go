package e2e

import (
	"testing"
	"time"

	"berth/e2e/harness"
)

// Group 2: 200 identical pods at once, beside kube-scheduler alone and beside least-used without reservations.
func TestBurstDoesNotHerd(t *testing.T) {
	// The first is by far the least used: a herd would run there.
	levels := []float64{0.02}
	for at := range 19 {
		levels = append(levels, 0.25+0.015*float64(at))
	}
	scene := stage(t, levels...)
	// 200 pods of a fifth of a core, which they use: a quarter of the fleet.
	pods := harness.Pods{Workload: "cart", Count: 200, CPU: "200m", Memory: "128Mi"}
	alone, _ := burst(t, "", pods)
	wire := plane.OpenWire(t, scene.monitoring.LeastUsed(t, 15*time.Second))
	leastUsed, _ := burst(t, wire.URL, pods)
	berth := scene.berth(t, active)
	with, _ := burst(t, berth.URL, pods)
	used := map[string]float64{}
	for _, arm := range []struct {
		name      string
		placement harness.Placement
	}{{"kube-scheduler alone", alone}, {"least used, without reservations", leastUsed}, {"Berth", with}} {
		after := scene.after(levels, arm.placement, 0.2)
		used[arm.name] = highest(after)
		t.Logf("%s: %s; the fullest node at %.0f %%\n%s", arm.name, arm.placement, 100*highest(after), table(after, "%.2f"))
	}
	if leastUsed.Most() < 2*alone.Most() {
		t.Errorf("least-used has at most %d pods on a node and does not herd, so this proves nothing", leastUsed.Most())
	}
	if with.Most() > leastUsed.Most()/2 {
		t.Errorf("%d pods are on one node, want at most half of the %d of least-used", with.Most(), leastUsed.Most())
	}
	if used["Berth"] > used["kube-scheduler alone"] {
		t.Errorf("the fullest node is at %.2f, and at %.2f without Berth", used["Berth"], used["kube-scheduler alone"])
	}
}
