package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/e2e/harness"
)

// Group 6: three replicas behind a Service are restarted one after the other while pods keep coming. No call fails.
func TestRollingRestartOfThreeReplicas(t *testing.T) {
	needFull(t)
	scene := stage(t, 0.93, 0.20, 0.30, 0.40)
	service := plane.OpenService(t)
	var replicas []*harness.Berth
	for at := range 3 {
		replica := plane.StartBerth(t, harness.BerthOptions{
			Prometheus: scene.monitoring.URL, Rules: active, Name: fmt.Sprintf("replica-%d", at),
			// Until the Service has seen that it is not ready.
			Arguments: []string{"--linger", "2s"},
		})
		service.Add(replica.Address)
		replicas = append(replicas, replica)
	}
	harness.Eventually(t, "all replicas are ready", patience, func() error {
		if service.Ready() < len(replicas) {
			return fmt.Errorf("%d are", service.Ready())
		}
		return nil
	})
	scheduler := plane.StartScheduler(t, harness.SchedulerOptions{Extender: service.URL})
	namespace := plane.TestNamespace(t, "rolling")
	bindings := plane.WatchPods(t, namespace)
	created, done, ended := 0, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
				pods := harness.Pods{Namespace: namespace, Workload: fmt.Sprintf("app-%04d", created), Count: 1, CPU: "10m", Memory: "8Mi"}
				plane.CreatePods(t, pods)
				created++
			}
		}
	}()
	for _, replica := range replicas {
		replica.Stop()
		replica.Start(t)
		replica.WaitReady(t)
		harness.Eventually(t, "the Service has it again", patience, func() error {
			if service.Ready() < len(replicas) {
				return fmt.Errorf("%d are ready", service.Ready())
			}
			return nil
		})
	}
	close(done)
	<-ended
	placement := bindings.Wait(t, created, patience)
	failed := failures(t, scheduler)
	answered := 0.0
	for _, replica := range replicas {
		answered += replica.Metrics(t).Sum("berth_scheduler_extender_requests_total", `verb="prioritize"`)
	}
	t.Logf("%s; %d failed calls, %.0f answered by replicas since their restart; %d connections found none ready",
		placement, len(failed), answered, service.Refused())
	if len(failed) > 0 {
		t.Errorf("%d calls of %d failed: %s", len(failed), created, strings.Join(failed, "\n"))
	}
}
