// Package detector reads the log and opens incidents: it turns tallies and guests' CPU time into cells
// of time per meter, closes them by completeness, and steps each rule's condition.
//
// It promises that state, position and incidents are written in one transaction: a restart neither
// loses a pending alarm nor repeats one. A cell without a tally is zero where the meter's exporters were
// under observation, and missing where they were not; nothing is resolved by absence. It does not send
// anything (package notify), and does not know who owns a meter (it asks).
//
// Memory is bounded by the meters that the collectors tell of: two bits a cell and rule, the open cells,
// and the values of cells that came near a threshold.
package detector

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/detector/incident"
	"hostmeter/detector/rule"
	"hostmeter/detector/rules"
	"hostmeter/internal/clock"
	"hostmeter/internal/failpoint"
	"hostmeter/internal/lease"
	"hostmeter/internal/store"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Config is the part `detector:` of the configuration file.
type Config struct {
	// Rules is a rules file; empty: the shipped rules.
	Rules string `yaml:"rules"`
	// Slot is the unit of time of conditions; of a minute or longer: whole minutes.
	Slot time.Duration `yaml:"slot"`
	// Checkpoint is how often state and position are written.
	Checkpoint time.Duration `yaml:"checkpoint"`
	// Lease is how long an active detector may not be heard of before one that stands by takes over.
	Lease time.Duration `yaml:"lease"`
	// Silence is how long a collector may say nothing before it no longer holds event time back.
	Silence time.Duration `yaml:"silence"`
}

// DefaultConfig has five-minute slots and the shipped rules.
func DefaultConfig() Config {
	return Config{Slot: 5 * time.Minute, Checkpoint: time.Minute, Lease: 30 * time.Second, Silence: 15 * time.Minute}
}

// Validate names the key that is wrong.
func (c Config) Validate() error {
	switch {
	case c.Slot < time.Second || c.Slot > time.Hour:
		return fmt.Errorf("slot: %s is not from 1s to 1h", c.Slot)
	case c.Slot >= time.Minute && c.Slot%time.Minute != 0:
		return fmt.Errorf("slot: %s is not whole minutes", c.Slot)
	case c.Checkpoint < time.Second:
		return fmt.Errorf("checkpoint: %s is shorter than 1s", c.Checkpoint)
	case c.Lease < 3*time.Second:
		return fmt.Errorf("lease: %s is shorter than 3s", c.Lease)
	case c.Silence < time.Minute:
		return fmt.Errorf("silence: %s is shorter than 1m", c.Silence)
	}
	return nil
}

// ErrSuperseded is returned when another detector has taken over: this one has written nothing since.
var ErrSuperseded = lease.ErrSuperseded

// Owner tells who owned a meter at a time, and who sold to that customer; empty where nobody did.
type Owner func(meter schemas.MeterID, at time.Time) (service, customer, reseller string)

// Deps are what a detector needs.
type Deps struct {
	DB      *store.DB
	Source  stream.Source
	Clock   clock.Clock
	Logger  *slog.Logger
	Metrics prometheus.Registerer
	// Owners reads who owns what, as it is now. While it cannot, nothing is processed. Optional.
	Owners func(ctx context.Context) (Owner, error)
	// Standby has Run wait until no other detector is active. Without it Run takes over at once, as is right for the
	// only one there should be.
	Standby bool
	// Home is a folder of this detector's own on its machine, for Standby: one that is killed and started again there
	// goes on at once, where it would wait for its own lease to run out. Empty: it waits.
	Home string
	// WhileActive runs beside the detector as long as it is the active one. Optional.
	WhileActive func(ctx context.Context) error
	// Receivers are the names that are notified (notify.Config.Receivers).
	Receivers []string
}

// Detector is one detector. Open, Process, Tick, Checkpoint and Run are not for concurrent use with each
// other; WaitFor and ReadTo are.
type Detector struct {
	cfg       Config
	deps      Deps
	lease     *lease.Lease
	rules     []rule.Rule
	incidents *incident.Store
	metrics   *metrics

	lanes       map[rule.Each][]*lane
	owned       bool  // some rule is over sums
	finest      int64 // shortest cell of an event lane
	finestShort int64 // of a receive lane; 0 where there is none

	opened    bool
	progress  *progress
	position  stream.Watermarks // processed
	bySubject map[string]*subject
	byShard   map[uint32]map[string]*subject // with receive lanes
	owner     Owner                          // nil where Deps.Owners is
	owners    map[string]owner               // asked before
	lastFront []int64
	shortAt   map[uint32]int64
	actions   []action
	openSites map[string]site
	removed   []string
	savedAt   time.Time
	tickedAt  time.Time

	readTo  atomic.Int64
	mu      sync.Mutex
	saved   stream.Watermarks // checkpointed
	wants   []stream.Watermarks
	wake    chan struct{} // somebody waits for a checkpoint
	changed chan struct{} // closed and made anew at each checkpoint
}

// New returns a detector that has touched nothing yet but its rules file.
//
// Errors: a rules file that cannot be read or is wrong (rule.ErrRules), a wrong configuration.
func New(cfg Config, deps Deps) (*Detector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	parsed, err := Rules(cfg)
	if err != nil {
		return nil, err
	}
	if deps.Logger == nil {
		deps.Logger = slog.Default()
	}
	if deps.Clock == nil {
		deps.Clock = clock.Real{}
	}
	d := &Detector{
		cfg: cfg, deps: deps, rules: parsed,
		lease:     lease.New(lease.Config{Table: "detector_lease", What: "detector", Age: cfg.Lease, Home: deps.Home}, deps.DB, deps.Clock, deps.Logger),
		incidents: incident.New(deps.DB, deps.Receivers...), metrics: newMetrics(deps.Metrics),
		wake: make(chan struct{}, 1), changed: make(chan struct{}),
	}
	d.lanes = lanesOf(d.rules, cfg.Slot)
	d.finest = int64(cfg.Slot)
	for each, lanes := range d.lanes {
		d.owned = d.owned || each.Owned()
		for _, l := range lanes {
			switch {
			case !l.receive:
				d.finest = min(d.finest, l.cell)
			case d.finestShort == 0:
				d.finestShort = l.cell
			default:
				d.finestShort = min(d.finestShort, l.cell)
			}
		}
	}
	return d, nil
}

// Rules returns the rules that a configuration names: those of its file, or the shipped ones.
func Rules(cfg Config) ([]rule.Rule, error) {
	text := rules.Default
	if cfg.Rules != "" {
		var err error
		if text, err = os.ReadFile(cfg.Rules); err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
	}
	parsed, err := rule.Parse(text)
	if err != nil && cfg.Rules != "" {
		err = fmt.Errorf("%s: %w", cfg.Rules, err)
	}
	return parsed, err
}

// Open reads state and position, and takes over from any other detector. It may be called twice.
func (d *Detector) Open(ctx context.Context) error {
	if d.opened {
		return nil
	}
	d.progress = newProgress()
	d.position, d.bySubject, d.byShard = stream.Watermarks{}, map[string]*subject{}, map[uint32]map[string]*subject{}
	d.owners, d.shortAt, d.openSites, d.removed = map[string]owner{}, map[uint32]int64{}, map[string]site{}, nil
	d.actions, d.lastFront = nil, nil
	d.mu.Lock()
	d.saved = stream.Watermarks{}
	err := d.load(ctx)
	d.mu.Unlock()
	if err != nil {
		return fmt.Errorf("open detector: %w", err)
	}
	d.opened = true
	d.savedAt, d.tickedAt = d.deps.Clock.Now(), d.deps.Clock.Now()
	d.showIncidents(ctx)
	return nil
}

func (d *Detector) addToShard(s *subject) {
	for i := range s.lanes {
		if s.lanes[i].lane.receive {
			if d.byShard[s.shard] == nil {
				d.byShard[s.shard] = map[string]*subject{}
			}
			d.byShard[s.shard][s.id] = s
			return
		}
	}
}

func (d *Detector) remove(s *subject) {
	delete(d.bySubject, s.id)
	delete(d.byShard[s.shard], s.id)
	d.removed = append(d.removed, s.id)
}

// Process takes batches in the order of the log. What has been seen before is passed over; a hole in a
// sequence is declared, and its time is unknown.
//
// It checkpoints when an incident changed, and when the time for it has come. Errors: ErrSuperseded,
// those of the store, with which none of the batches is taken or all are: the caller processes the same again, until
// there is no error.
func (d *Detector) Process(ctx context.Context, batches []*schemas.Batch) error {
	if err := d.Open(ctx); err != nil {
		return err
	}
	if err := d.readOwners(ctx); err != nil {
		return err
	}
	for _, b := range batches {
		key := stream.KeyOf(b)
		last := d.position[key]
		if b.GetIndex() <= last {
			continue
		}
		if b.GetIndex() > last+1 {
			d.gap(&stream.GapError{Key: key, From: last + 1, To: b.GetIndex() - 1})
		}
		d.takeBatch(ctx, b)
		d.position[key] = b.GetIndex()
		d.metrics.batches.Inc()
	}
	d.closeCells(ctx)
	return d.checkpointIfDue(ctx)
}

// gap declares that batches are gone.
func (d *Detector) gap(gap *stream.GapError) {
	if gap.To <= d.position[gap.Key] {
		return
	}
	d.deps.Logger.Warn("the log lost batches that the detector has not seen; their time is unknown",
		"log", gap.Key.String(), "from", gap.From, "to", gap.To)
	d.metrics.gapBatches.Add(float64(gap.To - gap.From + 1))
	d.progress.lost(gap)
	d.position[gap.Key] = gap.To
}

// tickMost bounds what one tick adds to the silence of a collector: a clock that jumps is no silence.
const tickMost = time.Minute

// Tick is called when nothing was read for a while: it lets collectors that say nothing for longer than
// the silence no longer hold event time back, and checkpoints when it is time. Errors: those of Process.
func (d *Detector) Tick(ctx context.Context) error {
	if err := d.readOwners(ctx); err != nil {
		return err
	}
	now := d.deps.Clock.Now()
	d.progress.waited(min(now.Sub(d.tickedAt), tickMost), d.cfg.Silence)
	d.tickedAt = now
	d.closeCells(ctx)
	d.readTo.Store(d.progress.readTo(now))
	return d.checkpointIfDue(ctx)
}

func (d *Detector) checkpointIfDue(ctx context.Context) error {
	if len(d.actions) == 0 && !d.awaited() && d.deps.Clock.Now().Sub(d.savedAt) < d.cfg.Checkpoint {
		return nil
	}
	return d.Checkpoint(ctx)
}

// ReadTo returns up to where, in time of receipt, the log had been read at the last tick; the zero time before the first.
// It is for concurrent use.
func (d *Detector) ReadTo() time.Time {
	if at := d.readTo.Load(); at != 0 {
		return time.Unix(0, at).UTC()
	}
	return time.Time{}
}

// Checkpoint writes state, position and incidents in one transaction.
//
// Errors: ErrSuperseded, those of the store. It can be called again then: it writes the same.
func (d *Detector) Checkpoint(ctx context.Context) error {
	began := time.Now()
	var open map[string]bool
	err := d.lease.Update(ctx, func(tx *store.Tx) (err error) {
		open, err = d.save(ctx, tx)
		return err
	})
	if err != nil {
		return fmt.Errorf("checkpoint of the detector: %w", err)
	}
	failpoint.Hit(failpoint.DetectorSaved)
	changed := len(d.actions) > 0
	for _, s := range d.bySubject {
		s.dirty, s.closed = false, false
	}
	d.actions, d.removed = nil, nil
	d.savedAt = d.deps.Clock.Now()
	d.closeByHand(open)
	d.mu.Lock()
	maps.Copy(d.saved, d.position)
	close(d.changed)
	d.changed = make(chan struct{})
	d.mu.Unlock()
	d.metrics.checkpoint.Observe(time.Since(began).Seconds())
	d.metrics.subjects.Set(float64(len(d.bySubject)))
	if changed {
		d.showIncidents(ctx)
	}
	return nil
}

// closeByHand tells the conditions of incidents that a person has resolved.
func (d *Detector) closeByHand(open map[string]bool) {
	for id, at := range d.openSites {
		if !open[id] {
			at.subject.lanes[at.lane].conditions[at.k].Machine.CloseByHand()
			at.subject.dirty, at.subject.closed = true, true
			delete(d.openSites, id)
		}
	}
}

func (d *Detector) showIncidents(ctx context.Context) {
	counts, err := d.incidents.Counts(ctx)
	if err != nil {
		d.deps.Logger.Warn("incidents cannot be counted", "err", err)
		return
	}
	d.metrics.incidents.Reset()
	for key, n := range counts {
		d.metrics.incidents.WithLabelValues(key[0], key[1]).Set(float64(n))
	}
}
