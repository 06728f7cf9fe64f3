// Package detector reads the log and opens incidents: it turns tallies and guests' CPU time into
// cells of time per meter, closes them by completeness, and steps each rule's condition.
package detector

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Config is the part `detector:` of the configuration file.
type Config struct {
	// Rules is a rules file; empty: the shipped rules.
	Rules string `yaml:"rules"`
	// Slot is the unit of time of conditions.
	Slot time.Duration `yaml:"slot"`
	// Checkpoint is how often state and position are written.
	Checkpoint time.Duration `yaml:"checkpoint"`
	// Silence is how long a collector may say nothing before it no longer holds event time back.
	Silence time.Duration `yaml:"silence"`
}

// DefaultConfig has five-minute slots and the shipped rules.
func DefaultConfig() Config {
	return Config{Slot: 5 * time.Minute, Checkpoint: 30 * time.Second, Silence: 15 * time.Minute}
}

// ErrSuperseded is returned when another detector has taken over: this one has written nothing since.
var ErrSuperseded = errors.New("another detector has taken over")

// Deps are what a detector needs.
type Deps struct {
	DB      *store.DB
	Source  stream.Source
	Clock   clock.Clock
	Logger  *slog.Logger
	Metrics prometheus.Registerer
	// Owner tells who owned a meter at a time; empty where nobody did. Optional.
	Owner func(ctx context.Context, meter schemas.MeterID, at time.Time) (service, customer string)
	// Reseller tells a customer's reseller. Optional.
	Reseller func(ctx context.Context, customer string) string
	// Receivers are the names that are notified (notify.Config.Receivers).
	Receivers []string
}

// Detector is one detector. Process, Checkpoint and Run are not for concurrent use with each other;
// WaitFor is.
type Detector struct {
	cfg  Config
	deps Deps
}

// New returns a detector that has touched nothing yet.
//
// Errors: a rules file that cannot be read or is wrong.
func New(cfg Config, deps Deps) (*Detector, error) { return &Detector{cfg: cfg, deps: deps}, nil }

// Open reads state and position, and takes over from any other detector.
func (d *Detector) Open(ctx context.Context) error { return errors.New("not yet") }

// Run opens, reads the log until ctx is done, and closes.
func (d *Detector) Run(ctx context.Context) error { return errors.New("not yet") }

// Process takes batches in the order of the log. What has been seen before is passed over.
func (d *Detector) Process(ctx context.Context, batches []*schemas.Batch) error {
	return errors.New("not yet")
}

// Checkpoint writes state and position.
func (d *Detector) Checkpoint(ctx context.Context) error { return errors.New("not yet") }

// WaitFor waits until everything up to the watermarks has been processed and checkpointed.
func (d *Detector) WaitFor(ctx context.Context, want stream.Watermarks) error {
	return errors.New("not yet")
}

// Close checkpoints and stops. It may be called twice.
func (d *Detector) Close() error { return nil }
