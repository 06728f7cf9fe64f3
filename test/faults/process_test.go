package faults_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// program builds hostmeter with its failure points once for all tests.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "hostmeter-faults")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "hostmeter")
	out, err := exec.Command("go", "build", "-tags", "libvirt_dlopen,failpoints", "-o", path, "hostmeter/cmd/hostmeter").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build hostmeter with failure points: %w\n%s", err, out)
	}
	return path, nil
})

// process is a hostmeter that the suite started.
type process struct {
	component string
	cmd       *exec.Cmd
	said      *output
	ended     chan struct{} // closed when it is over
}

// output is what a process says; it may be read while the process runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start starts a command of hostmeter in an environment. A socket is handed over as a service manager does it
// (sd_listen_fds(3)).
func start(env []string, socket *os.File, args ...string) (*process, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	p := &process{component: args[0], cmd: exec.Command(path, args...), said: &output{}, ended: make(chan struct{})}
	if socket != nil {
		p.cmd = exec.Command("sh", append([]string{"-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"`, "sh", path}, args...)...)
		p.cmd.ExtraFiles = []*os.File{socket}
	}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// over says whether the process has ended.
func (p *process) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// end sends a signal that ends the process, and waits for that.
func (p *process) end(s syscall.Signal) error {
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Signal(s)
	select {
	case <-p.ended:
		return nil
	case <-time.After(90 * time.Second):
		_ = p.cmd.Process.Signal(syscall.SIGKILL)
		<-p.ended
		return fmt.Errorf("%s did not end within 90 s of %v", p.component, s)
	}
}

// killed says whether a SIGKILL ended the process.
func (p *process) killed() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// hostmeter runs a command to its end and returns what it printed.
func hostmeter(env []string, args ...string) (string, error) {
	path, err := program()
	if err != nil {
		return "", err
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("hostmeter %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// await waits for a condition, which says why it does not hold yet.
func await(within time.Duration, condition func() error) error {
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

// ready says why a process does not answer /readyz.
func ready(listen string) error {
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

// listening says why nobody listens on a UDP address of loopback.
func listening(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	table, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		return err
	}
	if !strings.Contains(string(table), fmt.Sprintf("0100007F:%04X 00000000:0000", number)) {
		return fmt.Errorf("nobody listens on %s", address)
	}
	return nil
}

// ports numbers the ports of a run. They lie below those that the system gives to connections: else one of
// these could take the port of a process that is down for a moment.
var ports atomic.Int32

// freePort returns an address of loopback that is free, and whose next port no other call returns.
func freePort() (string, error) {
	const first, count = 22000, 8000
	for range count / 2 {
		at := fmt.Sprintf("127.0.0.1:%d", first+(os.Getpid()*64+2*int(ports.Add(1)))%count)
		conn, udpErr := net.ListenPacket("udp", at)
		listener, tcpErr := net.Listen("tcp", at)
		if udpErr == nil {
			_ = conn.Close()
		}
		if tcpErr == nil {
			_ = listener.Close()
		}
		if udpErr == nil && tcpErr == nil {
			return at, nil
		}
	}
	return "", errors.New("no port is free")
}

// need skips the test where a server is not there; in CI that is a failure.
func need(t *testing.T, variable string) string {
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

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// stopped says whether the process is paused by a SIGSTOP.
func (p *process) stopped() bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	return bytes.Contains(text, []byte(") T "))
}
