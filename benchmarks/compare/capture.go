//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// captureRecords is how many records the capture has at least.
const captureRecords = 2_000_000

func (b *bench) captureTable(ctx context.Context) error {
	e, err := b.execution(receiverOf("udpfloor"), "netflow9")
	if err != nil {
		return err
	}
	capture := e.file("v9.pcap")
	text, err := exec.CommandContext(ctx, e.program("load"), "-file", capture, "-protocol", "netflow9", "-records", fmt.Sprint(captureRecords)).Output()
	if err != nil {
		return err
	}
	var wrote sent
	if err := json.Unmarshal(text, &wrote); err != nil {
		return err
	}
	b.text("%s NetFlow v9 records, one process each, started anew, median of %d. `replay` also adds up by address and prints the sums;", number(float64(wrote.Records)), max(b.rounds, 3))
	b.text("goflow2's library decodes and counts only.")
	b.head("", "CPU s", "records per CPU second")
	for _, c := range []struct {
		name string
		argv []string
		read func([]byte) (int64, error)
	}{
		{"hostmeter replay", []string{b.hostmeter, "replay", "--json", "--local", "10.50.0.0/16", capture}, replayed},
		{"goflow2's library", []string{e.program("decode"), capture}, func(text []byte) (int64, error) {
			return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		}},
	} {
		var costs []float64
		for range max(b.rounds, 3) {
			cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
			var complaint bytes.Buffer
			cmd.Stderr = &complaint
			text, err := cmd.Output()
			if err != nil {
				return fmt.Errorf("%s: %w: %s", c.name, err, complaint.String())
			}
			if n, err := c.read(text); err != nil || n != wrote.Records {
				return fmt.Errorf("%s reads %d records (%v), want %d", c.name, n, err, wrote.Records)
			}
			costs = append(costs, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
		}
		slices.Sort(costs)
		cost := costs[len(costs)/2]
		b.row(c.name, fmt.Sprintf("%.2f", cost), number(float64(wrote.Records)/cost))
	}
	return nil
}

func replayed(text []byte) (n int64, err error) {
	var told struct{ Exporters []struct{ Records int64 } }
	err = json.Unmarshal(text, &told)
	for _, e := range told.Exporters {
		n += e.Records
	}
	return n, err
}
