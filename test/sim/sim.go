// Package sim runs collectors, their logs, a broker and aggregators in one process, from a seed: what the
// exporters send, and who is killed, filled, cut, paused, repeated and delayed when. It is the real code from
// the datagram to the ledger, on a disk in memory (package faultdisk) and a real SQLite store; the broker
// stands for Kafka.
//
// After a history everything is mended and brought to its end. The ledger must then be the one that an
// undisturbed run makes of the datagrams that were not lost, and what is missing must be declared as lost, in
// the protocol's own unit. It does not simulate a power cut of the ledger's store: that is SQLite's and
// PostgreSQL's promise, which the tests with real processes try.
package sim

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"hostmeter/collector"
	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
)

// begin is when histories begin.
var begin = time.Date(2026, 10, 1, 22, 30, 0, 0, time.UTC)

const shards = 3

// Suite runs histories in a folder.
type Suite struct {
	dir      string
	template []byte // an empty ledger with an inventory
	// Sabotage breaks a rule on purpose, to show that the checks see it. Empty: none.
	Sabotage Sabotage
}

// Sabotage names a broken rule.
type Sabotage string

// The rules that can be broken.
const (
	// ForgetWatermark books again what is delivered again.
	ForgetWatermark Sabotage = "a batch is booked again although its watermark has passed it"
	// ConfirmEarly confirms to the log what has been read and not booked.
	ConfirmEarly Sabotage = "batches are confirmed before they are booked"
	// LyingDisk acknowledges a sync that it does not do.
	LyingDisk Sabotage = "the log acknowledges before its fsync"
	// AssumeBooked takes a commit without a reply for one that took effect.
	AssumeBooked Sabotage = "a failed commit is taken for a booked one"
	// SecondCopy keeps what an append refused, and offers it again under another name too.
	SecondCopy Sabotage = "a flush that was refused is written twice"
	// DropTally loses a tally between the log and the ledger.
	DropTally Sabotage = "a tally is lost on the way to the ledger"
)

const world = `
provider: {name: Example Hosting, time_zone: Europe/London, currency: GBP}
prefixes: [{prefix: 203.0.113.0/24, exporters: [198.51.100.1, 198.51.100.2, 198.51.100.3, 198.51.100.4]}]
prices: [{sku: overage, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: GB, begun: true, amount: "0.50"}]
plans: [{name: month, quota: 2 GB, direction: sum, period: calendar}]
customers: [{id: c1, name: Ada Ltd}]
services:
  - {id: one, customer: c1, plan: month, place: london, opened: 2026-01-12}
  - {id: two, customer: c1, plan: month, place: london, opened: 2026-01-12}
ownership:
  - {service: one, key: "address:203.0.113.1", from: 2026-01-12T00:00:00Z}
  - {service: one, key: "address:203.0.113.2", from: 2026-01-12T00:00:00Z, until: 2026-10-02T00:10:00Z}
  - {service: two, key: "address:203.0.113.2", from: 2026-10-02T00:10:00Z}
  - {service: two, key: "address:203.0.113.3", from: 2026-01-12T00:00:00Z}
`

// NewSuite prepares histories in a folder, which is best in memory.
func NewSuite(dir string) (*Suite, error) {
	path := filepath.Join(dir, "template.db")
	db, err := store.Open(context.Background(), "sqlite:"+path, clock.NewManual(begin))
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(context.Background()); err != nil {
		return nil, err
	}
	if _, err := inventory.New(db).Import(context.Background(), []inventory.File{{Name: "world.yaml", Text: []byte(world)}}, false); err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil { // the write-ahead log goes into the file
		return nil, err
	}
	s := &Suite{dir: dir}
	s.template, err = os.ReadFile(path)
	return s, err
}

// Result is what a history was.
type Result struct {
	Counts                 map[string]int // of faults, by name
	Datagrams, Lost        int
	Batches, Crashes, Late int
}

// Run runs one history. Its error says what does not add up.
func (s *Suite) Run(seed uint64) (result Result, err error) {
	dir, err := os.MkdirTemp(s.dir, "history")
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	h, err := s.newHistory(dir, seed)
	if err != nil {
		return Result{}, err
	}
	defer h.close()
	defer func() {
		if p := recover(); p != nil {
			broken, ok := p.(fault)
			if !ok {
				panic(p)
			}
			err = fmt.Errorf("seed %d, step %d: %s", seed, h.step, broken)
		}
	}()
	h.run()
	return h.result, nil
}

// fault is a broken law, thrown through the history.
type fault string

func failf(format string, args ...any) { panic(fault(fmt.Sprintf(format, args...))) }

func must(err error) {
	if err != nil {
		failf("%v", err)
	}
}

var background = context.Background()

// quiet hears of what histories do on purpose all the time.
var quiet = slog.New(slog.DiscardHandler)

func collectorConfig(id string) collector.Config {
	cfg := collector.DefaultConfig()
	cfg.ID, cfg.Shards = id, shards
	cfg.Local = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	for i := range 4 {
		cfg.Exporters = append(cfg.Exporters, collector.ExporterConfig{
			Address:  collector.Network{Prefix: netip.PrefixFrom(exporterAddress(i), 32)},
			Mode:     []string{"single", "border", "edge", "single"}[i],
			Sampling: collector.Sampling(exporterSampling(i)),
		})
	}
	return cfg
}

func exporterAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)}) }

func exporterSampling(i int) uint32 { return []uint32{1, 1, 1, 100}[i] }

func newSenders() []*sender {
	var senders []*sender
	for i, version := range []uint16{5, 9, 10, 5} {
		senders = append(senders, &sender{
			address: netip.AddrPortFrom(exporterAddress(i), uint16(4000+i)), version: version,
			boot: begin.Add(-time.Hour), sampling: exporterSampling(i), sequence: uint32(1000 * (i + 1)),
		})
	}
	return senders
}

// newRandom is the source of all chance in a history.
func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x686f73746d657465)) }
