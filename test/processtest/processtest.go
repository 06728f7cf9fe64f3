// Package processtest runs hostmeter's binary for tests: builds it, starts it, watches what it says, and ends it.
package processtest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Build returns what builds hostmeter with build tags, once, and returns its path. The caller removes its folder.
func Build(tags string) func() (path string, err error) {
	return sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "hostmeter-test")
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, "hostmeter")
		out, err := exec.Command("go", "build", "-tags", tags, "-o", path, "hostmeter/cmd/hostmeter").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("build hostmeter with %s: %w\n%s", tags, err, out)
		}
		return path, nil
	})
}

// Process is a hostmeter that a test started.
type Process struct {
	Component string
	Said      *Output
	Ended     chan struct{} // closed when it is over
	cmd       *exec.Cmd
}

// Output is what a process says; it may be read while the process runs.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Start starts a command of the program at path, with env beside the environment. A socket, where it is not nil, is
// handed over as a service manager does it (sd_listen_fds(3)).
func Start(path string, env []string, socket *os.File, args ...string) (*Process, error) {
	p := &Process{Component: args[0], cmd: exec.Command(path, args...), Said: &Output{}, Ended: make(chan struct{})}
	if socket != nil {
		p.cmd = exec.Command("sh", append([]string{"-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"`, "sh", path}, args...)...)
		p.cmd.ExtraFiles = []*os.File{socket}
	}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.Said, p.Said
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.Ended)
	}()
	return p, nil
}

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Over says whether the process has ended.
func (p *Process) Over() bool {
	select {
	case <-p.Ended:
		return true
	default:
		return false
	}
}

// End sends a signal that ends the process, which may be stopped, and waits for that. One that does not end in time is
// killed, and that is an error.
func (p *Process) End(s syscall.Signal, within time.Duration) error {
	_ = p.Signal(syscall.SIGCONT) // of one that is over these are errors
	_ = p.Signal(s)
	select {
	case <-p.Ended:
		return nil
	case <-time.After(within):
		_ = p.Signal(syscall.SIGKILL)
		<-p.Ended
		return fmt.Errorf("%s did not end within %s of %v", p.Component, within, s)
	}
}

// Stopped says whether the process is paused by a SIGSTOP.
func (p *Process) Stopped() bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	return bytes.Contains(text, []byte(") T "))
}

// Killed says of a process that is over whether a SIGKILL ended it.
func (p *Process) Killed() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Await waits for a condition, which says why it does not hold yet.
func Await(within time.Duration, condition func() error) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-deadline.C:
			return fmt.Errorf("not within %s: %w", within, err)
		case <-ticker.C:
		}
	}
}

// Ready says why a process does not answer /readyz.
func Ready(listen string) error {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get("http://" + listen + "/readyz")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// Listening says why nobody listens on a UDP address, which is IPv4.
func Listening(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	table, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		return err
	}
	ip := at.Addr().As4()
	if !strings.Contains(string(table), fmt.Sprintf("%02X%02X%02X%02X:%04X 00000000:0000", ip[3], ip[2], ip[1], ip[0], at.Port())) {
		return fmt.Errorf("nobody listens on %s", address)
	}
	return nil
}

// Tail returns the last n octets of a text.
func Tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// Need skips the test where a server is not there; in CI that is a failure.
func Need(t *testing.T, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" && os.Getenv("CI") == "true" {
		t.Fatalf("%s is not set: run the tests by `make test`, which starts the servers", variable)
	}
	if value == "" {
		t.Skipf("NOT TESTED: %s is not set; `make test-real` starts the servers and sets it", variable)
	}
	return value
}
