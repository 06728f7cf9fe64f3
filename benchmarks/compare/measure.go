//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// load is what a run sends.
type load struct {
	protocol                    string
	rate                        float64 // records a second; 0: as fast as it goes
	length                      time.Duration
	exporters, ports, templates int
	tail                        time.Duration // see the load program
	ledger                      bool          // the sums by address are compared
}

// sent is what the load program prints.
type sent struct {
	Datagrams, Templates, Records int64
	Octets, Packets               int64
	Seconds                       float64
	Skipped                       int64
	CPU                           float64 `json:"cpu_seconds"`
}

// result is what one run showed.
type result struct {
	sent    sent
	dropped int64   // datagrams, by the kernel
	cpu     float64 // seconds, from the load's begin to the process's end
	peak    float64 // MiB
	counts  counts
	wrong   *wrong // nil: not compared
}

// handed is how many records the kernel handed to the receiver.
func (r result) handed(protocol string) float64 {
	return float64(r.sent.Records - r.dropped*recordsOf(protocol))
}

// perMillion is the cost of a million records that were handed over.
func (r result) perMillion(protocol string) float64 { return r.cpu / r.handed(protocol) * 1e6 }

// settle is how long a receiver that listens is left alone before the load begins.
const settle = 500 * time.Millisecond

// measure starts a receiver, sends the load to it and ends it.
func (e *execution) measure(ctx context.Context, l load) (result, error) {
	var r result
	p, err := e.start(ctx)
	if p != nil {
		defer p.kill()
	}
	if err != nil {
		return r, err
	}
	time.Sleep(settle)
	before, err := p.used() // since the benchmark began, or the process
	if err != nil {
		return r, err
	}
	if r.sent, err = e.send(ctx, l); err != nil {
		return r, err
	}
	if err := p.drained(ctx); err != nil {
		return r, err
	}
	at, err := socketsAt(e.port)
	if err != nil {
		return r, err
	}
	r.dropped, r.peak = int64(at.dropped), e.accounting.peak(p.cmd.Process.Pid)
	if e.receiver.live {
		if r.counts, err = e.receiver.counted(e); err != nil {
			return r, err
		}
	}
	if err := p.stop(); err != nil {
		return r, err
	}
	after := time.Duration(p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime())
	if e.accounting.dir != "" {
		if after, err = p.used(); err != nil {
			return r, err
		}
	}
	if !e.receiver.live {
		if r.counts, err = e.receiver.counted(e); err != nil {
			return r, fmt.Errorf("%w: %s", err, p.complaint())
		}
	}
	r.cpu = (after - before).Seconds()
	if r.counts.cpu > 0 { // from the process's start
		r.cpu = r.counts.cpu - (before - p.begin).Seconds()
	}
	if r.counts.peak > 0 {
		r.peak = r.counts.peak
	}
	if l.ledger && e.receiver.ours {
		r.wrong, err = compareLedgers(e.file("sent.csv"), e.file("counted.csv"))
	}
	_ = os.RemoveAll(e.dir) // stored flows are large
	return r, err
}

// send runs the load program.
func (e *execution) send(ctx context.Context, l load) (s sent, err error) {
	args := []string{"-to", e.address(), "-protocol", l.protocol, "-rate", strconv.FormatFloat(l.rate, 'f', 0, 64),
		"-for", l.length.String(), "-exporters", fmt.Sprint(max(l.exporters, 1)), "-ports", fmt.Sprint(max(l.ports, 1)),
		"-templates", fmt.Sprint(max(l.templates, 1)), "-tail", l.tail.String()}
	if l.ledger {
		args = append(args, "-ledger", e.file("sent.csv"))
	}
	args = append([]string{e.program("load")}, args...)
	if e.core {
		args = append([]string{"taskset", "-c", "0"}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	text, err := cmd.Output()
	if err != nil {
		return s, fmt.Errorf("load: %w: %s", err, complaint.String())
	}
	return s, json.Unmarshal(text, &s)
}

// wrong is how far the sums by address are from what was sent.
type wrong struct {
	addresses int   // whose sums differ
	octets    int64 // sum of the differences' amounts, of both directions
	more      int64 // of them, what was counted and not sent
}

// compareLedgers compares two files as the load program writes them, in which addresses ascend.
func compareLedgers(sent, counted string) (*wrong, error) {
	want, err := readLedger(sent)
	if err != nil {
		return nil, err
	}
	have, err := readLedger(counted)
	if err != nil {
		return nil, err
	}
	for address := range have {
		if _, ok := want[address]; !ok {
			want[address] = [4]int64{}
		}
	}
	w := &wrong{}
	for address, sums := range want {
		if have[address] == sums {
			continue
		}
		w.addresses++
		for _, i := range []int{0, 2} { // in_octets, out_octets
			difference := have[address][i] - sums[i]
			w.octets += max(difference, -difference)
			w.more += max(difference, 0)
		}
	}
	return w, nil
}

func readLedger(name string) (map[string][4]int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	out := map[string][4]int64{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ",")
		if len(fields) != 5 || fields[0] == "address" {
			continue
		}
		var sums [4]int64
		for i := range sums {
			if sums[i], err = strconv.ParseInt(fields[i+1], 10, 64); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		out[fields[0]] = sums
	}
	return out, lines.Err()
}
