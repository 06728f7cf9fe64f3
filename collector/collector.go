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
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/collector/libvirt"
	"hostmeter/collector/tally"
	"hostmeter/collector/udp"
	"hostmeter/internal/clock"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// GarbagePercent is how much garbage a collector's process should let gather beside what is in use
// (debug.SetGCPercent), unless GOGC says so: it holds much, in which there are no pointers to follow, and
// makes little, so that looking more often costs less than the memory.
const GarbagePercent = 25

// Deps are what a collector needs of the program. Log is required.
type Deps struct {
	// Log takes the batches. If it is a stream.Source too, as the one on disk is, the positions of
	// a killed collector are read back from it: it must then give the batches of all shards in the order in
	// which they were appended.
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
	shared
	lanes []*lane
	// wholeCells and crowdedCells are the constants of those names, unless a test has less.
	wholeCells, crowdedCells int

	// flushMu lets one flush run at a time; it is taken before those of lanes.
	flushMu  sync.Mutex
	pending  []*schemas.Batch // cut, and not yet taken by the log
	parts    parts            // what is encoded of them
	state    *state           // what the log has
	recovers bool             // positions are read and written

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
	c := &Collector{
		shared: shared{
			cfg: cfg, deps: deps, metrics: m, allow: newAllowList(cfg.Exporters),
			numbers: map[string]uint32{}, knocks: knocks{known: map[netip.Addr]*Knock{}},
			twice: map[[2]tally.Sight]tally.Twice{},
		},
		ownSockets: ownSockets, state: newState(), wholeCells: wholeCells, crowdedCells: crowdedCells,
	}
	lanes := lanesFor(runtime.GOMAXPROCS(0))
	for range lanes {
		c.lanes = append(c.lanes, newLane(&c.shared, lanes))
	}
	c.watch = tally.NewWatch(c.lanes[0].table)
	// Who is configured by a single address is missed from the beginning, if it does not send.
	for i := range cfg.Exporters {
		if cfg.Exporters[i].Address.IsSingleIP() {
			addr := cfg.Exporters[i].Address.Addr()
			c.lanes[c.laneOf(addr)].addExporter(addr, &cfg.Exporters[i])
		}
	}
	for _, l := range cfg.Libvirt {
		c.lanes[0].host(l.Name)
	}
	return c, nil
}

// fed says whether something was fed.
func (c *Collector) fed() bool {
	return slices.ContainsFunc(c.lanes, func(l *lane) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.fed
	})
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
			Dropped: func(n uint64) { c.metrics.kernelDrops.Add(float64(n)) },
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
	c.knocksMu.Lock()
	defer c.knocksMu.Unlock()
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
	var out []ExporterStatus
	for _, l := range c.lanes {
		l.mu.Lock()
		for _, a := range l.order {
			out = append(out, a.status())
		}
		l.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b ExporterStatus) int { return cmp.Compare(a.Exporter, b.Exporter) })
	return out
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

// join includes another interval.
func (i *interval) join(o interval) {
	if o.from.IsZero() {
		return
	}
	if i.from.IsZero() || o.from.Before(i.from) {
		i.from = o.from
	}
	if o.to.After(i.to) {
		i.to = o.to
	}
}
