package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Said is how a command of the extender ended.
type Said struct {
	Code           int
	Output, Errors string
}

// arguments are those of a command on the extender's data folder.
func (b *Berth) arguments(command string, more ...string) []string {
	return append([]string{"--data", b.Root, command}, more...)
}

// Command runs a command of the extender, as a person would beside the running one; the last of an environment variable counts.
func (b *Berth) Command(t testing.TB, environment []string, command string, more ...string) Said {
	t.Helper()
	run := exec.Command(b.program, b.arguments(command, more...)...)
	run.Dir = b.folder
	run.Env = slices.Concat(os.Environ(), b.environment, environment)
	var output, stderr bytes.Buffer
	run.Stdout, run.Stderr = &output, &stderr
	err := run.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return Said{Code: run.ProcessState.ExitCode(), Output: output.String(), Errors: stderr.String()}
}

// clientFiles names a client's certificate to the commands that show one.
func clientFiles(folder, name string) []string {
	file := filepath.Join(folder, name)
	return []string{"BERTH_CLIENT_CERT_FILE=" + file + ".crt", "BERTH_CLIENT_KEY_FILE=" + file + ".key"}
}

// Ask runs `report` or `explain` against the running extender, which has to succeed, and returns what it prints.
func (b *Berth) Ask(t testing.TB, authority, command string, more ...string) string {
	t.Helper()
	said := b.Command(t, nil, command, append(more, "--server", b.URL, "--ca-file", authority)...)
	if said.Code != 0 {
		t.Fatalf("`%s` ends with %d: %s%s", command, said.Code, said.Output, said.Errors)
	}
	return said.Output
}

// Finding is one line of `doctor`.
type Finding struct{ Check, Verdict, Said, Advice string }

// Checkup is what `doctor` is given instead of what `run` was given.
type Checkup struct {
	// SchedulerConfig is kube-scheduler's configuration file.
	SchedulerConfig string
	// Flags have other values, by their names.
	Flags map[string]string
	// Environment has variables more.
	Environment []string
	// Data is another data folder.
	Data string
}

// Doctor runs `doctor` with the flags of the running extender but for what differs, and returns its findings and its exit code.
func (b *Berth) Doctor(t testing.TB, but Checkup) ([]Finding, int) {
	t.Helper()
	flags := slices.Clone(b.flags)
	for name, value := range but.Flags {
		flags[slices.Index(flags, name)+1] = value
	}
	patient := *b
	if but.Data != "" {
		patient.Root = but.Data
	}
	said := patient.Command(t, but.Environment, "doctor", append(flags, "--json", "--scheduler-config", but.SchedulerConfig)...)
	var findings []Finding
	if err := json.Unmarshal([]byte(said.Output), &findings); err != nil || len(findings) == 0 {
		t.Fatalf("doctor ends with %d and prints no findings: %v\n%s%s", said.Code, err, said.Output, strings.TrimSpace(said.Errors))
	}
	return findings, said.Code
}
