package faults_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hostmeter/test/processtest"
)

// server is a broker or a database of the suite's own, which may be killed, wiped and cut off.
type server struct {
	script  string // in deploy/testbed
	dir     string
	port    string
	env     []string
	pid     int
	between *proxy
}

// startServer starts one behind a proxy.
func startServer(t *testing.T, script string) *server {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "hostmeter-faults")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL runs as somebody else
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if os.Getuid() == 0 { // a disk of its own, which can be filled
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=700m,mode=755"); err != nil {
			t.Fatalf("mount a file system: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	}
	s := &server{script: script, dir: filepath.Join(dir, "server")}
	at, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	_, s.port, _ = net.SplitHostPort(at)
	if s.between, err = newProxy(at); err != nil {
		t.Fatal(err)
	}
	properties := filepath.Join(dir, "properties")
	if err := os.WriteFile(properties, []byte("advertised.listeners=PLAINTEXT://"+s.between.address()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.env = []string{"KAFKA_PROPS=" + properties, "KAFKA_HEAP=320m", "PG_FSYNC=on"}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.between.close()
		_, _ = s.run("--down", s.dir)
	})
	return s
}

func (s *server) run(args ...string) (string, error) {
	cmd := exec.Command(filepath.Join("..", "..", "deploy", "testbed", s.script), args...)
	cmd.Env = append(os.Environ(), s.env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", s.script, strings.Join(args, " "), err, processtest.Tail(stderr.String(), 3000))
	}
	return strings.TrimSpace(string(out)), err
}

// start starts the server, with the data that are there.
func (s *server) start() error {
	out, err := s.run(s.dir, s.port)
	if err != nil {
		return err
	}
	lines := strings.Fields(out)
	s.pid, err = strconv.Atoi(lines[len(lines)-1])
	return err
}

// kill kills the server and waits until it is gone.
func (s *server) kill() error {
	if err := syscall.Kill(s.pid, syscall.SIGKILL); err != nil {
		return err
	}
	return processtest.Await(30*time.Second, func() error {
		if err := syscall.Kill(s.pid, 0); err == nil {
			return errors.New("it is still there")
		}
		// Its children go after it, and free the port.
		conn, err := net.Dial("tcp", "127.0.0.1:"+s.port)
		if err == nil {
			_ = conn.Close()
			return errors.New("its port is still open")
		}
		return nil
	})
}

// alive says whether the server runs.
func (s *server) alive() bool { return syscall.Kill(s.pid, 0) == nil }

// filler is the file that fills the server's disk.
func (s *server) filler() string { return filepath.Join(filepath.Dir(s.dir), "filler") }

// fillDisk leaves the server no octet to write to.
func (s *server) fillDisk() error { return fill(s.filler()) }

// freeDisk gives the room back, and starts the server again, as an operator does where it has given up.
func (s *server) freeDisk() error {
	if err := os.Remove(s.filler()); err != nil {
		return err
	}
	if s.alive() {
		if err := s.kill(); err != nil {
			return err
		}
	}
	return s.start()
}

// wipe forgets all that the killed server had.
func (s *server) wipe() error { return os.RemoveAll(s.dir) }

// proxy is a cable to a server that can be pulled.
type proxy struct {
	to       string
	listener net.Listener
	mu       sync.Mutex
	cut      bool
	conns    map[net.Conn]bool
}

func newProxy(to string) (*proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{to: to, listener: listener, conns: map[net.Conn]bool{}}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go p.carry(conn)
		}
	}()
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) carry(near net.Conn) {
	far, err := net.Dial("tcp", p.to)
	if err != nil || !p.keep(near, far) {
		_ = near.Close()
		if err == nil {
			_ = far.Close()
		}
		return
	}
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			_ = pair[0].Close()
			_ = pair[1].Close()
			done <- struct{}{}
		}()
	}
	<-done
	<-done
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, near)
	delete(p.conns, far)
}

// keep remembers connections, unless the cable is cut.
func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return false
	}
	for _, c := range conns {
		p.conns[c] = true
	}
	return true
}

// pull ends all connections and refuses new ones, until it is plugged in again.
func (p *proxy) pull() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) plug() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.pull()
}
