// Package collector turns what exporters send and hypervisors say into tallies, and writes them to
// the log in batches.
//
// It owns who may send, the state of each exporter (its decoders, its settings, its accounts), the
// table of tallies, and from where a restarted collector goes on. It promises that the datagrams
// of one exporter are handled in the order they came, that nothing leaves its memory before the log
// has it, that whatever it receives is counted, dropped with a reason, or held, and that what a
// killed collector had not flushed is declared as lost when it comes back. It does not know who owns
// a meter, and it never sends to an exporter.
package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/collector/libvirt"
	"hostmeter/collector/netflow"
	"hostmeter/collector/tally"
	"hostmeter/collector/udp"
	"hostmeter/internal/clock"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Deps are what a collector needs of the program. Log is required.
type Deps struct {
	// Log takes the batches. If it is a stream.Source too, as the one on disk is, the positions of
	// a killed collector are read back from it.
	Log     stream.Log
	Clock   clock.Clock
	Logger  *slog.Logger
	Metrics prometheus.Registerer
	// StateDir is a folder for the sources' positions. Empty: a restart knows nothing of what was
	// before, and declares no loss.
	StateDir string
	// Sockets are bound ones that outlive this collector, of the service manager or of the collector
	// before a reload. nil: the collector binds its own.
	Sockets *udp.Sockets
}

// Collector is safe for concurrent use.
type Collector struct {
	cfg     Config
	deps    Deps
	allow   allowList
	metrics *metrics

	// flushMu lets one flush run at a time; it is taken before mu.
	flushMu  sync.Mutex
	pending  []*schemas.Batch // cut, and not yet taken by the log
	parts    parts            // what is encoded of them
	state    *state           // what the log has
	recovers bool             // positions are read and written
	learned  *learnedStore    // nil: what exporters tell is not saved

	mu        sync.Mutex // guards all below
	table     *tally.Table
	programs  netflow.Programs // of all exporters
	watch     *tally.Watch
	twice     map[[2]tally.Sight]tally.Twice // by pair, the last of each
	exporters map[netip.Addr]*exporter
	hosts     map[string]*host
	order     []accountable // exporters and hosts in the order in which they were made
	knocks    knocks
	accounts  map[accountKey]*schemas.ExporterAccount
	guests    []*schemas.GuestUsage
	// corrections are tallies of what was flushed before at a wrong rate.
	corrections *tallies
	names       []string // of exporters and hosts, as tallies refer to them; it only grows
	numbers     map[string]uint32
	complete    []*schemas.Completeness
	received    interval
	fed         bool
	// restoredHosts are positions of hypervisors of the run before.
	restoredHosts []*schemas.SourcePosition
	records       []schemas.FlowRecord // of one datagram

	queueDrops atomic.Uint64 // datagrams that the kernel dropped at our sockets

	openOnce   sync.Once
	openErr    error
	sockets    []*udp.Socket
	ownSockets bool // Close closes the kept ones too
}

// New returns a collector that touches nothing until it is fed, opened or run.
//
// Errors: of Config.Validate, and of registering metrics twice.
func New(cfg Config, deps Deps) (*Collector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Log == nil {
		return nil, errors.New("a collector needs a log")
	}
	if deps.Clock == nil {
		deps.Clock = clock.Real{}
	}
	if deps.Logger == nil {
		deps.Logger = slog.Default()
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register the collector's metrics: %w", err)
	}
	ownSockets := deps.Sockets == nil
	if ownSockets {
		deps.Sockets = &udp.Sockets{}
	}
	table := tally.DefaultConfig()
	table.Local, table.Assigned = cfg.Local, cfg.Assigned
	c := &Collector{
		cfg: cfg, deps: deps, metrics: m, ownSockets: ownSockets,
		allow:     newAllowList(cfg.Exporters),
		state:     newState(),
		table:     tally.New(table),
		exporters: map[netip.Addr]*exporter{},
		hosts:     map[string]*host{},
		knocks:    knocks{known: map[netip.Addr]*Knock{}},
		accounts:  map[accountKey]*schemas.ExporterAccount{},

		corrections: newTallies(cfg.Shards, nil), numbers: map[string]uint32{},
	}
	// Who is configured by a single address is missed from the beginning, if it does not send.
	c.watch, c.twice = tally.NewWatch(c.table), map[[2]tally.Sight]tally.Twice{}
	for i := range cfg.Exporters {
		if cfg.Exporters[i].Address.IsSingleIP() {
			c.addExporter(cfg.Exporters[i].Address.Addr(), &cfg.Exporters[i])
		}
	}
	for _, l := range cfg.Libvirt {
		c.host(l.Name)
	}
	return c, nil
}

// Open binds the sockets and reads back the positions of the run before. Run calls it.
func (c *Collector) Open(ctx context.Context) error {
	c.openOnce.Do(func() { c.openErr = c.open(ctx) })
	return c.openErr
}

func (c *Collector) open(ctx context.Context) error {
	if len(c.cfg.Libvirt) > 0 {
		if err := libvirt.Supported(); err != nil {
			return fmt.Errorf("collector.libvirt[0]: %w", err)
		}
	}
	if c.deps.StateDir != "" {
		if err := c.recover(ctx); err != nil {
			return err
		}
	}
	for i, cfg := range c.cfg.UDP {
		socket, err := c.deps.Sockets.Listen(ctx, cfg, udp.Deps{
			Logger: c.deps.Logger, Clock: c.deps.Clock,
			Dropped: func(n uint64) {
				c.queueDrops.Add(n)
				c.metrics.kernelDrops.Add(float64(n))
			},
		})
		if err != nil {
			return errors.Join(fmt.Errorf("collector.udp[%d]: %w", i, err), c.Close())
		}
		c.sockets = append(c.sockets, socket)
		c.deps.Logger.Info("listening for flows", "listen", socket.LocalAddr().String(),
			"receive_buffer_bytes", socket.ReceiveBuffer())
	}
	closed, err := c.deps.Sockets.DropUnread()
	for _, at := range closed {
		c.deps.Logger.Info("a socket that the configuration does not name is closed", "listen", at.String())
	}
	return err
}

// Addresses are where the open collector listens, in the order of the configuration.
func (c *Collector) Addresses() []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range c.sockets {
		out = append(out, s.LocalAddr())
	}
	return out
}

// Close closes the sockets, but not those that it was given, nor the log. It may be called twice.
func (c *Collector) Close() error {
	var errs []error
	for _, s := range c.sockets {
		errs = append(errs, s.Close())
	}
	if c.ownSockets {
		errs = append(errs, c.deps.Sockets.Close())
	}
	if c.learned != nil {
		errs = append(errs, c.learned.journal.close())
	}
	return errors.Join(errs...)
}

// Knocks lists who sent and may not, the most frequent first.
func (c *Collector) Knocks() []Knock {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.knocks.list()
}

// ExporterStatus is what an operator wants to know of an exporter or a hypervisor.
type ExporterStatus struct {
	Exporter  string // its address, or libvirt/NAME
	Name      string
	Protocols []schemas.Protocol
	// Last is when something was last received of it; zero: never since the collector started.
	Last time.Time
	// Unsampled says that records are counted at the default rate because no rate was told.
	SamplingUnknown bool
	// Rates are the sampling rates, N of 1-in-N, of its last records; a configured rate wins over them.
	Rates []float64
	// ClockAhead is how far its clock is ahead of ours, as far as its headers tell: to about a second
	// and to what the network delays. 0 for sFlow, which tells no time.
	ClockAhead time.Duration
	// HeldSets is how many data sets wait for their template.
	HeldSets int64
	// InEffect is the rate at which it sampled in this hour and the one before, by the packets that its sFlow
	// agents say they chose their samples from and the samples received: a witness of Rates, by which nothing
	// is multiplied. 0: too few samples, or no sFlow. Doubts are data sources whose samples do not fit what they
	// state, those with the most samples first, 16 at most.
	InEffect float64
	Doubts   []SourceRate
}

// addRate notes a rate; 0/0 is none.
func (s *ExporterStatus) addRate(numerator, denominator uint32) {
	if denominator == 0 {
		return
	}
	if rate := float64(numerator) / float64(denominator); !slices.Contains(s.Rates, rate) {
		s.Rates = append(s.Rates, rate)
	}
}

// Exporters lists the exporters and hypervisors that are configured or have sent.
func (c *Collector) Exporters() []ExporterStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []ExporterStatus
	for _, a := range c.order {
		out = append(out, a.status())
	}
	slices.SortFunc(out, func(a, b ExporterStatus) int { return cmp.Compare(a.Exporter, b.Exporter) })
	return out
}

// numberOf is what tallies refer to an exporter or a host by.
func (c *Collector) numberOf(name string) uint32 {
	number, known := c.numbers[name]
	if !known {
		number = uint32(len(c.names))
		c.names, c.numbers[name] = append(c.names, name), number
	}
	return number
}

// interval is when what is not yet flushed was received.
type interval struct{ from, to time.Time }

func (i *interval) include(at time.Time) {
	if i.from.IsZero() || at.Before(i.from) {
		i.from = at
	}
	if !at.Before(i.to) {
		i.to = at.Add(1)
	}
}
