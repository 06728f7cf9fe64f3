package faults_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"hostmeter/test/processtest"
)

// program builds hostmeter with its failure points once for all tests.
var program = processtest.Build("libvirt_dlopen,failpoints")

// process is a hostmeter that the suite started.
type process = processtest.Process

// endsWithin is how long a process may take to end.
const endsWithin = 90 * time.Second

// start starts a command of hostmeter in an environment, with the socket that is handed over to it, or nil.
func start(env []string, socket *os.File, args ...string) (*process, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	return processtest.Start(path, env, socket, args...)
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
