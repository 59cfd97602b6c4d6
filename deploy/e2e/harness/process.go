package harness

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Ready after some seconds on a quiet machine; the rest is for busy ones.
const readyLimit = 2 * time.Minute

// How long a process may take to end after SIGTERM.
const stopLimit = 10 * time.Second

// Process is a program that was started and is stopped by its process id. Should the test process die, the kernel
// kills it too.
type Process struct {
	Name  string
	Log   string
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
}

// The kernel ties the death signal of a child to the thread that started it, so one thread starts all and never ends.
var spawns = make(chan func())

func init() {
	go func() {
		runtime.LockOSThread()
		for spawn := range spawns {
			spawn()
		}
	}()
}

// launch starts `program` with its output in `<folder>/<name>.log`, to which a restarted program appends.
func launch(folder, name, program string, environment []string, arguments ...string) (*Process, error) {
	path := filepath.Join(folder, name+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("failed to open the log of %s: %w", name, err)
	}
	defer log.Close()
	cmd := exec.Command(program, arguments...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = folder, log, log
	cmd.Env = append(os.Environ(), environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	spawns <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("failed to start %s: %w", name, err)
	}
	process := &Process{Name: name, Log: path, cmd: cmd, ended: make(chan struct{})}
	go func() {
		process.err = cmd.Wait()
		close(process.ended)
	}()
	return process, nil
}

// Stop asks the process to end, and kills it when it does not.
func (p *Process) Stop() {
	if p == nil || p.Ended() {
		return
	}
	// A stopped process cannot act on SIGTERM before it goes on.
	p.Signal(syscall.SIGCONT)
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopLimit):
		p.Kill()
	}
}

// Kill ends the process without warning.
func (p *Process) Kill() {
	if p == nil {
		return
	}
	p.Signal(syscall.SIGKILL)
	<-p.ended
}

// Signal sends a signal; a process that has ended is left alone.
func (p *Process) Signal(signal syscall.Signal) {
	if !p.Ended() {
		// It may end in between, and then there is nothing to signal.
		_ = p.cmd.Process.Signal(signal)
	}
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended tells whether the process is gone.
func (p *Process) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// ready waits until `check` holds; it gives up when the process ends or takes too long, and shows the end of its log.
func (p *Process) ready(check func() error) error {
	deadline := time.Now().Add(readyLimit)
	for {
		err := check()
		if err == nil {
			return nil
		}
		switch {
		case p.Ended():
			return fmt.Errorf("%s ended (%v): %s", p.Name, p.err, p.Tail(20))
		case time.Now().After(deadline):
			p.Stop()
			return fmt.Errorf("%s is not ready after %v (%w): %s", p.Name, readyLimit, err, p.Tail(20))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Tail is the end of the log.
func (p *Process) Tail(lines int) string {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Memory is the resident memory in bytes, from /proc.
func (p *Process) Memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(text), "\n") {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			var kib int64
			_, err := fmt.Sscanf(rest, "%d kB", &kib)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no VmRSS in the status of %s", p.Name)
}

// Below the ports that the kernel lends to outgoing connections (from 32768 on Linux): a server that takes seconds to listen would
// find a lent port taken by a client.
const firstPort, ports = 20_000, 12_000

var given atomic.Uint32

// freePort is a port of 127.0.0.1 that was free a moment ago and that no other caller in this process is given.
func freePort() (int, error) {
	// Processes at the same time begin at different places: a prime times the id, so neighbours are far apart.
	first := uint32(os.Getpid()) * 397
	for range ports {
		port := firstPort + int((first+given.Add(1))%ports)
		if listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("no port of 127.0.0.1 from %d to %d is free", firstPort, firstPort+ports-1)
}
