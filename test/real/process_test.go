package real_test

import (
	"bytes"
	"context"
	"encoding/json"
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
	"syscall"
	"testing"
	"time"
)

// program builds hostmeter once for all tests and returns its path.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "hostmeter-real")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "hostmeter")
	out, err := exec.Command("go", "build", "-tags", "libvirt_dlopen", "-o", path, "hostmeter/cmd/hostmeter").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build hostmeter: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// need skips the test where a server is not there; in CI that is a failure.
func need(t *testing.T, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value != "" {
		return value
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not set: run the tests by `make test`, which starts the servers", variable)
	}
	t.Skipf("NOT TESTED: %s is not set; `make test-real` starts the servers and sets it", variable)
	return ""
}

// process is a hostmeter that the test started.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	output *output
	done   chan error
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

// start starts a component of hostmeter with a configuration file.
func start(t *testing.T, component, config string) *process {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(path, component, "-c", config), output: &output{}, done: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("%s said:\n%s", component, tail(p.output.String(), 6000))
		}
	})
	return p
}

// signal sends a signal and waits for the end where it is a deadly one.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if p.done == nil {
		return
	}
	_ = p.cmd.Process.Signal(s)
	select {
	case <-p.done:
		p.done = nil
	case <-time.After(60 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
		p.done = nil
		p.t.Errorf("%v did not end within a minute of %s", p.cmd.Args[1:], s)
	}
}

// stop ends it as an operator would.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
}

// kill ends it as a power cut of the process would.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
}

// hostmeter runs a command to its end and returns what it printed.
func hostmeter(t *testing.T, args ...string) []byte {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("hostmeter %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

// script runs one of deploy/testbed and returns its standard output.
func script(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join("..", "..", "deploy", "testbed", name), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail(stderr.String(), 3000))
	}
	return string(out)
}

// eventually waits for a condition, which says why it does not hold yet.
func eventually(t *testing.T, within time.Duration, condition func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %v", within, err)
		case <-ticker.C:
		}
	}
}

// ready waits until a process answers /readyz.
func ready(t *testing.T, listen string) {
	t.Helper()
	eventually(t, 60*time.Second, func() error {
		response, err := http.Get("http://" + listen + "/readyz")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
}

// freePort returns a TCP port on loopback that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// writeFile writes a file into the test's folder and returns its path.
func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// usageRow is what the tests read of `hostmeter usage --json`.
type usageRow struct {
	Service    string `json:"service"`
	Meter      string `json:"meter"`
	Class      string `json:"class"`
	InOctets   uint64 `json:"in_octets"`
	OutOctets  uint64 `json:"out_octets"`
	InPackets  uint64 `json:"in_packets"`
	OutPackets uint64 `json:"out_packets"`
	Error      uint64 `json:"octets_standard_error"`
}

// usage reads the usage by meter of the days around now.
func usage(t *testing.T, config string) map[string]usageRow {
	t.Helper()
	now := time.Now().UTC()
	out := hostmeter(t, "usage", "-c", config, "--by", "meter", "--format", "json",
		"--from", now.Add(-48*time.Hour).Truncate(time.Hour).Format(time.RFC3339), "--to", now.Add(48*time.Hour).Truncate(time.Hour).Format(time.RFC3339))
	var rows []usageRow
	if err := json.Unmarshal(out, &rows); err != nil {
		t.Fatalf("usage printed no JSON: %v\n%s", err, tail(string(out), 500))
	}
	sums := map[string]usageRow{}
	for _, row := range rows {
		sum := sums[row.Meter]
		sum.Meter = row.Meter
		sum.InOctets += row.InOctets
		sum.OutOctets += row.OutOctets
		sum.InPackets += row.InPackets
		sum.OutPackets += row.OutPackets
		sum.Error += row.Error
		sums[row.Meter] = sum
	}
	return sums
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// listenOf returns the address of the pages of a configuration that the tests wrote.
func listenOf(t *testing.T, config string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(config), "listen"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
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
	if !strings.Contains(string(table), fmt.Sprintf(":%04X ", number)) {
		return fmt.Errorf("nobody listens on %s", address)
	}
	return nil
}
