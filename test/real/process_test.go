package real_test

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hostmeter/test/processtest"
)

// program builds hostmeter once for all tests and returns its path.
var program = processtest.Build("libvirt_dlopen")

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// process is a hostmeter that the test started.
type process struct {
	*processtest.Process
	t *testing.T
}

// start starts a component of hostmeter with a configuration file.
func start(t *testing.T, component, config string) *process {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	started, err := processtest.Start(path, nil, nil, component, "-c", config)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{started, t}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", component, processtest.Tail(p.Said.String(), 6000))
		}
	})
	return p
}

// end sends a signal that ends it, and waits for that.
func (p *process) end(s syscall.Signal) {
	p.t.Helper()
	if p.Over() {
		return
	}
	if err := p.End(s, 60*time.Second); err != nil {
		p.t.Error(err)
	}
}

// stop ends it as an operator would.
func (p *process) stop() {
	p.t.Helper()
	p.end(syscall.SIGTERM)
}

// kill ends it as a power cut of the process would.
func (p *process) kill() {
	p.t.Helper()
	p.end(syscall.SIGKILL)
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
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, processtest.Tail(stderr.String(), 3000))
	}
	return string(out)
}

// eventually waits for a condition, which says why it does not hold yet.
func eventually(t *testing.T, within time.Duration, condition func() error) {
	t.Helper()
	if err := processtest.Await(within, condition); err != nil {
		t.Fatal(err)
	}
}

// ready waits until a process answers /readyz.
func ready(t *testing.T, listen string) {
	t.Helper()
	eventually(t, 60*time.Second, func() error { return processtest.Ready(listen) })
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
		t.Fatalf("usage printed no JSON: %v\n%s", err, processtest.Tail(string(out), 500))
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

// listenOf returns the address of the pages of a configuration that the tests wrote.
func listenOf(t *testing.T, config string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(config), "listen"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
