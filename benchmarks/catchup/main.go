// Command catchup measures how fast the ledger catches up after it was stopped for an hour while the
// collector went on: real datagrams through the real collector, the log on disk and the real aggregator on
// SQLite, in one process. The hour is fed as fast as this machine can, at the times at which it would have
// come. Then the aggregator is started, and the same load goes on beside it in real time, until everything
// is booked. It prints the ratio of booked time to passed time, and fails where the sums are not equal.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"hostmeter/aggregator"
	"hostmeter/aggregator/ledger"
	"hostmeter/collector"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk"
	"hostmeter/schemas"
)

type options struct {
	data      string
	records   int
	addresses int
	stopped   time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.data, "data", "", "an empty folder for the log and the ledger; default: a temporary one, which is deleted")
	flag.IntVar(&o.records, "records", 50_000, "flow records a second")
	flag.IntVar(&o.addresses, "addresses", 20_000, "active local addresses, at most 65,536")
	flag.DurationVar(&o.stopped, "stopped", time.Hour, "for how long the ledger was stopped")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "catchup: error:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if o.records < 60 || o.addresses < 1 || o.addresses > 1<<16 || o.stopped < time.Minute {
		return errors.New("want at least 60 records a second, 1 to 65,536 addresses and a minute")
	}
	if o.data == "" {
		dir, err := os.MkdirTemp("", "hostmeter-catchup")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		o.data = dir
	}
	debug.SetGCPercent(collector.GarbagePercent) // as hostmeter does
	l, err := newLoad(o)
	if err != nil {
		return err
	}
	defer func() { _ = l.log.Close() }()
	fmt.Fprintf(os.Stderr, "feeding %s of %d records a second at %d addresses\n", o.stopped, o.records, o.addresses)
	fed, err := l.feed(l.begin.Add(o.stopped))
	if err != nil {
		return err
	}
	backlog := l.end.batches
	took, err := l.catchUp(o)
	if err != nil {
		return err
	}
	return l.report(o, fed, took, backlog)
}

// load is the collector with its log, and the exporter before it.
type load struct {
	collector *collector.Collector
	log       *disk.Log
	end       *counted
	ledger    *ledger.Ledger

	addresses, perStep int
	begin, at          time.Time
	number             uint32 // of the next record
	sequence           uint32
	octets             uint64 // sent
	datagram           []byte
}

// counted knows where a log ends.
type counted struct {
	*disk.Log
	marks   stream.Watermarks
	batches int
}

func (c *counted) Append(ctx context.Context, batches []*schemas.Batch) error {
	if err := c.Log.Append(ctx, batches); err != nil {
		return err
	}
	for _, b := range batches {
		c.marks[stream.KeyOf(b)] = b.GetIndex()
	}
	c.batches += len(batches)
	return nil
}

// step is how often busy meters are flushed, and everything each twentieth time.
const step = 500 * time.Millisecond

var exporter = netip.MustParseAddrPort("198.51.100.1:4000")

func newLoad(o options) (*load, error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg := collector.DefaultConfig()
	cfg.Local = []netip.Prefix{netip.MustParsePrefix("10.50.0.0/16")}
	cfg.Exporters = []collector.ExporterConfig{{Address: collector.Network{Prefix: netip.PrefixFrom(exporter.Addr(), 32)}, Sampling: collector.SamplingNone}}
	logConfig := disk.DefaultConfig()
	logConfig.Path = filepath.Join(o.data, "log")
	log, err := disk.Open(context.Background(), logConfig, cfg.ID, cfg.Shards, disk.Deps{Logger: logger})
	if err != nil {
		return nil, err
	}
	db, err := store.Open(context.Background(), "sqlite:"+filepath.Join(o.data, "ledger.db"), clock.Real{})
	if err == nil {
		err = db.Migrate(context.Background())
	}
	if err != nil {
		return nil, err
	}
	l := &load{log: log, end: &counted{Log: log, marks: stream.Watermarks{}}, ledger: ledger.New(db, ledger.DefaultConfig()),
		addresses: o.addresses, perStep: int(float64(o.records) * step.Seconds()), begin: time.Now().UTC().Add(-o.stopped).Truncate(step)}
	l.at = l.begin
	l.collector, err = collector.New(cfg, collector.Deps{Log: l.end, Logger: logger})
	return l, err
}

// feed feeds what comes up to a time, and returns how long that took.
func (l *load) feed(to time.Time) (time.Duration, error) {
	began := time.Now()
	for n := 1; l.at.Before(to); n++ {
		l.at = l.at.Add(step)
		for left := l.perStep; left > 0; left -= 30 {
			l.collector.Feed(exporter, l.at, l.next(min(left, 30)))
		}
		all := l.at.Unix()%10 == 0 && l.at.Nanosecond() == 0
		if err := l.collector.Flush(context.Background(), l.at, all); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// next writes a NetFlow v5 datagram: records go round the addresses, half of them in and half out.
func (l *load) next(records int) []byte {
	be := binary.BigEndian
	uptime := uint32(l.at.Sub(l.begin).Milliseconds()) + 3_600_000
	b := be.AppendUint16(l.datagram[:0], 5)
	b = be.AppendUint16(b, uint16(records))
	b = be.AppendUint32(be.AppendUint32(b, uptime), uint32(l.at.Unix()))
	b = be.AppendUint32(be.AppendUint32(b, uint32(l.at.Nanosecond())), l.sequence)
	b = append(b, 0, 0, 0, 0)
	for range records {
		var r [48]byte
		local, remote := r[0:4], r[4:8]
		if l.number%2 == 1 {
			local, remote = remote, local
		}
		be.PutUint32(local, 10<<24|50<<16|(l.number/2%uint32(l.addresses)))
		be.PutUint32(remote, 192<<24|2<<8|l.number*2654435761>>24)
		packets := 1 + l.number%50
		octets := packets * (64 + l.number%1400)
		be.PutUint32(r[16:], packets)
		be.PutUint32(r[20:], octets)
		be.PutUint32(r[24:], uptime-800)
		be.PutUint32(r[28:], uptime)
		be.PutUint16(r[32:], 443)
		be.PutUint16(r[34:], uint16(1024+l.number%60000))
		r[38] = 6
		b = append(b, r[:]...)
		l.octets += uint64(octets)
		l.number++
	}
	l.sequence += uint32(records)
	l.datagram = b
	return b
}

// catchUp starts the aggregator and goes on feeding in real time until it has booked all that is there.
func (l *load) catchUp(o options) (time.Duration, error) {
	a, err := aggregator.New(aggregator.DefaultConfig(), aggregator.Deps{Ledger: l.ledger, Source: l.log})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() { cancel(); <-done }()
	began := time.Now()
	for {
		// What would have come by now; the consumer has caught up when it has all before that.
		if _, err := l.feed(l.begin.Add(o.stopped + time.Since(began)).Truncate(step)); err != nil {
			return 0, err
		}
		booked, err := l.ledger.ReadWatermarks(ctx)
		if err != nil {
			return 0, err
		}
		if booked.Reach(l.end.marks) {
			break
		}
		time.Sleep(step)
		fmt.Fprintf(os.Stderr, "\r%d of %d batches", sum(booked), l.end.batches)
	}
	took := time.Since(began)
	fmt.Fprintln(os.Stderr)
	if err := l.collector.Flush(ctx, l.at, true); err != nil { // what is still in memory
		return 0, err
	}
	return took, a.WaitFor(ctx, l.end.marks)
}

func sum(marks stream.Watermarks) (n uint64) {
	for _, index := range marks {
		n += index
	}
	return n
}

func (l *load) report(o options, fed, took time.Duration, backlog int) error {
	var booked uint64
	if err := l.ledger.Rows(context.Background(), ledger.Query{}, func(r ledger.UsageRow) error {
		booked += uint64(r.In.Octets) + uint64(r.Out.Octets)
		return nil
	}); err != nil {
		return err
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return err
	}
	ratio := (o.stopped + took).Seconds() / took.Seconds()
	load, _ := os.ReadFile("/proc/loadavg") // empty where there is none
	fields := strings.Fields(string(load))
	average := strings.Join(fields[:min(3, len(fields))], " ")
	fmt.Printf(`# Catching up

Written by `+"`make catchup CATCHUP=\"-records %d\"`"+`: %d cores, %s, load average %s at the end

The ledger was stopped for %s while %d flow records a second came, at %d active addresses: %d batches lay in the log.
It was started, and the same load went on beside it.

| figure | value |
|---|---|
| caught up after | %s |
| booked time over passed time, the live load included | %.1f |
| feeding the %s through the collector took | %s |
| octets sent / booked | %d / %d |
| peak memory of all in one process, MiB | %d |
`, o.records, runtime.GOMAXPROCS(0), runtime.Version(), average, o.stopped, o.records, o.addresses, backlog, took.Round(time.Second/10), ratio,
		o.stopped, fed.Round(time.Second), l.octets, booked, usage.Maxrss/1024)
	if booked != l.octets {
		return fmt.Errorf("%d octets were sent and %d are booked", l.octets, booked)
	}
	return nil
}
