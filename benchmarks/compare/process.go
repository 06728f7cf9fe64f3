//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is a receiver that runs.
type process struct {
	*execution
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error
	// begin is what accounting had before the process was started.
	begin time.Duration
}

// execution is one run of a receiver: its folder, its ports and what it is to receive.
type execution struct {
	*bench
	receiver *receiver
	dir      string
	port     int
	http     int
	protocol string
	// text asks a receiver that usually writes to nowhere for a text that can be added up.
	text bool
	// core puts the receiver and the load on one core, nice lowers the receiver's priority there.
	core bool
	nice int
}

// address is where the receiver listens.
func (e *execution) address() string { return fmt.Sprintf("127.0.0.1:%d", e.port) }

// file is a path in the run's folder.
func (e *execution) file(name string) string { return filepath.Join(e.dir, name) }

// firstPort begins the ports of runs: below the range that the kernel gives to senders.
const firstPort = 21_000

func (b *bench) execution(r *receiver, protocol string) (*execution, error) {
	b.runs++
	port := firstPort + os.Getpid()%500*20 + b.runs%10*2
	e := &execution{bench: b, receiver: r, dir: filepath.Join(b.work, fmt.Sprint(b.runs)), port: port, http: port + 1, protocol: protocol}
	return e, os.MkdirAll(e.dir, 0o755)
}

const (
	listenWithin = 15 * time.Second
	drainWithin  = 60 * time.Second
	drainStep    = 200 * time.Millisecond
	endWithin    = 90 * time.Second
)

// start starts the receiver and waits until it listens.
func (e *execution) start(ctx context.Context) (*process, error) {
	argv, err := e.receiver.command(e)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(e.file("log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	out, err := os.Create(e.file("out"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	if e.core {
		argv = append([]string{"taskset", "-c", "0", "nice", "-n", fmt.Sprint(e.nice)}, argv...)
	}
	p := &process{execution: e, cmd: exec.CommandContext(ctx, argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = out, log, e.dir
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 10 * time.Second
	if e.accounting.dir != "" {
		if p.begin, err = e.accounting.used(0); err != nil {
			return nil, err
		}
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := e.accounting.take(p.cmd.Process.Pid); err != nil {
		say("%s: CPU time is not accounted: %v", e.receiver.name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, p.listening(ctx)
}

func (p *process) listening(ctx context.Context) error {
	for begin := time.Now(); time.Since(begin) < listenWithin; {
		if s, err := socketsAt(p.port); err != nil || s.count > 0 {
			return err
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it listened (%v): %s", p.receiver.name, p.err, p.complaint())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s does not listen at port %d: %s", p.receiver.name, p.port, p.complaint())
}

// complaint is the end of what the receiver said.
func (p *process) complaint() string {
	text, _ := os.ReadFile(p.file("log"))
	return string(text[max(0, len(text)-500):])
}

// used is the CPU time so far.
func (p *process) used() (time.Duration, error) { return p.accounting.used(p.cmd.Process.Pid) }

// quietFor is how long a receiver has to be quiet to be called idle.
const quietFor = 600 * time.Millisecond

// drained waits until nothing is queued and the receiver uses under a twentieth of a core.
func (p *process) drained(ctx context.Context) error {
	quiet, last := time.Now(), time.Duration(-1)
	for begin := time.Now(); time.Since(begin) < drainWithin; {
		now, err := p.used()
		if err != nil {
			return err
		}
		s, err := socketsAt(p.port)
		if err != nil {
			return err
		}
		if s.queued > 0 || last < 0 || now-last > drainStep/20 {
			quiet = time.Now()
		}
		if last = now; time.Since(quiet) >= quietFor {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended by itself (%v): %s", p.receiver.name, p.err, p.complaint())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(drainStep):
		}
	}
	say("%s is still busy %v after the load", p.receiver.name, drainWithin)
	return nil
}

// stop ends the receiver as its manual says and waits for its end.
func (p *process) stop() error {
	sign := p.receiver.stop
	if sign == 0 {
		sign = syscall.SIGTERM
	}
	_ = p.cmd.Process.Signal(sign)
	select {
	case <-p.done:
	case <-time.After(endWithin):
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s did not end within %v", p.receiver.name, endWithin)
	}
	// What it started may write for a while still.
	for begin := time.Now(); len(p.accounting.pids(0)) > 0 && p.accounting.dir != ""; time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > endWithin {
			return fmt.Errorf("what %s started does not end", p.receiver.name)
		}
	}
	return nil
}

// kill ends the receiver at once, where a run went wrong.
func (p *process) kill() {
	select {
	case <-p.done:
	default:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	for _, pid := range p.accounting.pids(0) {
		if p.accounting.dir != "" { // in the group that was made for it
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
