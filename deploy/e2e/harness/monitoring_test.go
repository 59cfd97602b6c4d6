package harness

import (
	"fmt"
	"math"
	"os"
	"testing"
	"time"
)

// fleet is a few machines with a level each.
func fleet(levels ...float64) []*Machine {
	var machines []*Machine
	for at, node := range Nodes("node", len(levels), 8, 32<<30) {
		machines = append(machines, &Machine{Node: node, Profile: Steady(levels[at], 0.3)})
	}
	return machines
}

// What Prometheus tells of a machine is what its profile says, in history and from then on.
func TestMonitoringTellsWhatMachinesDo(t *testing.T) {
	if os.Getenv("BERTH_SKIP_SERVERS") == "1" {
		t.Skip("BERTH_SKIP_SERVERS=1")
	}
	levels := []float64{0.93, 0.2, 0.3, 0.4, 0.6, 0.75}
	begun := time.Now()
	monitoring := StartMonitoring(t, fleet(levels...), History{Span: 6 * time.Hour})
	t.Logf("history and Prometheus took %.1f s", time.Since(begun).Seconds())
	Eventually(t, "Prometheus has the levels", time.Minute, func() error {
		used, err := monitoring.utilization()
		if err != nil {
			return err
		}
		for at, machine := range monitoring.all {
			if math.Abs(used[machine.Name]-levels[at]) > 0.06 {
				return fmt.Errorf("`%s` is at %.3f, want about %.2f", machine.Name, used[machine.Name], levels[at])
			}
		}
		return nil
	})
	if hold := os.Getenv("BERTH_E2E_HOLD"); hold != "" {
		span, _ := time.ParseDuration(hold)
		println(monitoring.URL)
		time.Sleep(span)
	}
	monitoring.Change("node-000", Steady(0.5, 0.3))
	Eventually(t, "the change is scraped", time.Minute, func() error {
		if now := monitoring.Usage()["node-000"].CPU; math.Abs(now-0.5) > 0.06 {
			return fmt.Errorf("`node-000` is at %.3f, want about 0.50", now)
		}
		return nil
	})
}
