// Package e2e proves Berth against a real control plane: etcd, kube-apiserver, kube-scheduler, kwok and Prometheus.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"berth/e2e/harness"
)

// plane is shared by all tests, which run one after the other; each has nodes, pods, a kube-scheduler and an extender of
// its own.
var plane *harness.ControlPlane

// What a busy machine may take to bind a test's pods; no test is about this time.
const patience = 3 * time.Minute

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Getenv("BERTH_SKIP_SERVERS") == "1" {
		fmt.Fprintln(os.Stderr, "SKIPPED: BERTH_SKIP_SERVERS=1 is set; nothing is proven end to end")
		return 0
	}
	folder, err := os.MkdirTemp("", "berth-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	begun := time.Now()
	plane, err = harness.Start(folder)
	if err != nil {
		fmt.Fprintf(os.Stderr, "the control plane does not start: %v\nlogs are in %s\n", err, folder)
		return 1
	}
	defer plane.Stop()
	fmt.Printf("the control plane is ready after %.1f s\n", time.Since(begun).Seconds())
	code := m.Run()
	if code != 0 {
		fmt.Fprintf(os.Stderr, "logs are in %s\n", folder)
		return code
	}
	plane.Stop()
	_ = os.RemoveAll(folder)
	return code
}
