package sim

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"hostmeter/collector"
	"hostmeter/internal/clock"
	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk"
	"hostmeter/internal/stream/disk/faultdisk"
	"hostmeter/internal/stream/disk/files"
	"hostmeter/schemas"
)

// site is a collector with its log: one process, its disk, and what is known of it from outside.
type site struct {
	h         *history
	id        string
	disk      *faultdisk.Disk
	clock     clock.Clock
	folder    string // of the collector's own files, on the machine's disk
	collector *collector.Collector
	log       *disk.Log // nil: the process is down

	fed   []*datagram // by this process, and in no flush yet
	heard []*datagram // by this process, the last ones
	// readsFailed says that reads of the disk were made to fail.
	readsFailed bool
	flushes     []*flush
	known       stream.Watermarks // how far the log is known to hold batches
}

// flush is what one flush of the collector wrote, or tried to.
type flush struct {
	first     *schemas.Batch // by which it is recognised when it is offered again
	size      int
	datagrams []*datagram
	outcome   outcome
	offered   int // so many times
}

type outcome int

const (
	refused   outcome = iota // so far
	undecided                // the process died in it
	durable
	absent
)

// up starts the process: false where it died again.
func (s *site) up() bool {
	cfg := disk.DefaultConfig()
	cfg.Path, cfg.SegmentSize, cfg.Retain = "/log", 4096, s.h.retain
	var mounted files.System = s.disk.Mount()
	if s.h.sabotage == LyingDisk {
		mounted = lyingDisk{mounted}
	}
	log, err := disk.Open(background, cfg, s.id, shards, disk.Deps{Clock: &hurried{of: s.clock}, Logger: quiet, Files: mounted})
	if err == nil {
		s.log = log
		err = s.settle()
	}
	if err == nil {
		s.collector, err = collector.New(collectorConfig(s.id), collector.Deps{Log: s, Clock: s.clock, Logger: quiet, StateDir: s.folder})
		must(err)
		err = s.collector.Open(background)
	}
	if err != nil {
		if s.collector == nil && s.log == nil && !s.disk.Crashed() && !s.disk.Faulty() && s.disk.Struck() == "" {
			failf("start of %s: %v", s.id, err)
		}
		s.down(false)
		return false
	}
	return true
}

// hurried is a clock by which whoever sleeps has slept at once.
type hurried struct {
	of interface{ Now() time.Time }
	by atomic.Int64
}

func (c *hurried) Now() time.Time { return c.of.Now().Add(time.Duration(c.by.Load())) }

func (c *hurried) Sleep(ctx context.Context, d time.Duration) error {
	c.by.Add(int64(d))
	return ctx.Err()
}

// settle reads what a new process finds in the log: all that was acknowledged must be there, nothing that
// was refused, and the flush in which the last process died is there whole or not at all.
func (s *site) settle() error {
	reader, err := s.log.OpenReader(background, "settle", s.known)
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close() }()
	more := 0
	for idle := 0; ; {
		batches, err := reader.Next(impatient(), 100)
		var gap *stream.GapError
		switch {
		case s.disk.Crashed():
			return faultdisk.ErrCrashed
		case errors.Is(err, context.DeadlineExceeded) && idle < patientReads:
			idle++ // it may be that the disk did not give it
			continue
		case errors.Is(err, context.DeadlineExceeded):
			return s.decide(more)
		case errors.As(err, &gap):
			failf("%s has lost what it had acknowledged: %v", s.id, gap)
		case err != nil:
			return err
		}
		idle = 0
		for _, b := range batches {
			s.known[stream.KeyOf(b)] = b.GetIndex()
			more++
		}
	}
}

// patientReads are enough to outlast reads that fail.
const patientReads = 12

func (s *site) decide(more int) error {
	for _, f := range s.flushes {
		if f.outcome != undecided {
			continue
		}
		switch more {
		case f.size:
			f.outcome, more = durable, 0
		case 0:
			f.outcome = absent
		default:
			failf("%s: %d of the %d batches of a flush are in the log", s.id, more, f.size)
		}
	}
	if more != 0 {
		failf("%s: the log holds %d batches that it refused", s.id, more)
	}
	return nil
}

// Append implements stream.Log for the collector, and notes what goes into which flush.
func (s *site) Append(ctx context.Context, batches []*schemas.Batch) error {
	f := s.current()
	if f == nil || f.first != batches[0] {
		f = &flush{first: batches[0], size: len(batches), datagrams: s.fed}
		s.fed = nil
		s.flushes = append(s.flushes, f)
	}
	if s.h.sabotage == SecondCopy && f.offered > 0 {
		_ = s.log.Append(ctx, batches)
	}
	f.offered++
	err := s.log.Append(ctx, batches)
	switch {
	case err == nil:
		f.outcome = durable
		for _, b := range batches {
			s.known[stream.KeyOf(b)] = b.GetIndex()
		}
		s.h.result.Batches += len(batches)
	case s.disk.Crashed():
		f.outcome = undecided
	}
	return err
}

func (s *site) current() *flush {
	if n := len(s.flushes); n > 0 && s.flushes[n-1].outcome == refused {
		return s.flushes[n-1]
	}
	return nil
}

// Close implements stream.Log.
func (s *site) Close() error { return nil }

// OpenReader implements stream.Source.
func (s *site) OpenReader(ctx context.Context, consumer string, after stream.Watermarks) (stream.Reader, error) {
	if s.log == nil {
		return nil, errors.New("the collector is down")
	}
	return s.log.OpenReader(ctx, consumer, after)
}

// Confirm implements stream.Source.
func (s *site) Confirm(ctx context.Context, booked stream.Watermarks) error {
	if s.log == nil {
		return errors.New("the collector is down")
	}
	if err := s.log.Confirm(ctx, booked); err != nil {
		return err
	}
	for key, index := range booked {
		if key.Collector == s.id && index > s.known[key] {
			failf("confirmed %s %d, and %d was the last", key, index, s.known[key])
		}
	}
	return nil
}

// Keep passes on how far the collector has saved its positions, to a log that wants to know.
func (s *site) Keep(saved stream.Watermarks) {
	if log, ok := any(s.log).(interface{ Keep(stream.Watermarks) }); ok && s.log != nil {
		log.Keep(saved)
	}
}

// feed gives a datagram to the collector: to nobody where it is down.
func (s *site) feed(d *datagram) {
	if s.log == nil {
		return
	}
	s.fed = append(s.fed, d)
	s.heard = append(s.heard[max(0, len(s.heard)-7):], d)
	s.collector.Feed(d.from.address, s.h.received[d], d.payload)
}

// repeat gives the collector a datagram once more.
func (s *site) repeat() {
	if len(s.heard) == 0 {
		return
	}
	s.h.count(datagramRepeated)
	d := s.heard[s.h.random.IntN(len(s.heard))]
	s.collector.Feed(d.from.address, s.h.clock.Now().Add(s.h.receive), d.payload)
}

// flush flushes; a process that dies in it is down then.
func (s *site) flush(all bool) {
	if s.log == nil {
		return
	}
	err := s.collector.Flush(background, s.h.clock.Now(), all)
	switch {
	case err == nil:
	case s.disk.Crashed():
		s.h.count(deathInWrite)
		s.down(s.h.random.IntN(2) == 0)
	default:
		s.h.count(s.disk.Struck())
	}
}

// stop ends the process in order: it flushes everything that the disk takes.
func (s *site) stop() {
	s.flush(true)
	if s.log == nil {
		return
	}
	_ = s.log.Close()
	s.down(false)
}

// down ends the process at once. A power cut takes with it what was not synced, and of the collector's own
// files what was saved last.
func (s *site) down(cut bool) {
	if s.log == nil && s.collector == nil && !s.disk.Crashed() {
		return
	}
	if s.collector != nil {
		_ = s.collector.Close()
	}
	if f := s.current(); f != nil {
		f.outcome = absent
	}
	s.h.ended(s)
	s.collector, s.log, s.fed, s.heard = nil, nil, nil, nil
	s.h.result.Crashes++
	if !cut {
		s.disk.Kill()
		return
	}
	s.h.count(powerCut)
	s.disk.PowerCut(s.h.random)
	// It is in the log as well, while all of that is kept: a full disk makes the log delete what is confirmed.
	if s.h.random.IntN(2) == 0 && s.h.retain == keepAll && s.disk.Removals() == 0 {
		_ = os.Remove(filepath.Join(s.folder, "positions.json"))
	}
}

// kept lists the datagrams that are in the log.
func (s *site) kept() []*datagram {
	var kept []*datagram
	for _, f := range s.flushes {
		switch f.outcome {
		case durable:
			kept = append(kept, f.datagrams...)
		case undecided, refused:
			failf("a flush of %s has no outcome in the end", s.id)
		}
	}
	return kept
}

func newSite(h *history, id string) *site {
	s := &site{h: h, id: id, disk: faultdisk.New(), clock: h.clock, folder: filepath.Join(h.dir, id), known: stream.Watermarks{}}
	must(os.MkdirAll(s.folder, 0o750))
	return s
}

// lyingDisk says that it has synced.
type lyingDisk struct{ files.System }

func (d lyingDisk) Create(name string) (files.File, error) { return lying(d.System.Create(name)) }

func (d lyingDisk) OpenWrite(name string) (files.File, error) {
	return lying(d.System.OpenWrite(name))
}

func lying(f files.File, err error) (files.File, error) {
	if err != nil {
		return nil, err
	}
	return lyingFile{f}, nil
}

type lyingFile struct{ files.File }

func (lyingFile) Sync() error { return nil }
