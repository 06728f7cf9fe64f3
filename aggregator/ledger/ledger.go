// Package ledger owns the books: what each meter used in each hour, what each exporter sent, and how
// far each sequence of batches has been booked.
//
// It promises that a batch is booked once, whatever is repeated, re-ordered between sequences, killed
// or overtaken: the watermark of a sequence moves by compare-and-set in the transaction that books. It
// promises that a sealed hour never changes: what comes later is a late entry with a number. Booking
// does not know who owns a meter: that is looked up when money is computed.
package ledger

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"hostmeter/internal/store"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Errors of booking. After each of them nothing of the call has been written, except that
// store.ErrUnknownOutcome may come with either.
var (
	// ErrOvertaken says that somebody else has booked batches of a sequence that this ledger had
	// been booking: it is no longer the owner and reads its watermarks again.
	ErrOvertaken = errors.New("another aggregator has booked these batches")
	// ErrCorrupt says that a row of the ledger cannot be read as it was written.
	ErrCorrupt = errors.New("ledger row is corrupt")
)

// HoleError says that batches of a sequence are missing before the first one given.
type HoleError struct {
	Key stream.Key
	// Booked is the watermark; Index is that of the batch which does not follow it.
	Booked, Index uint64
}

func (e *HoleError) Error() string {
	return fmt.Sprintf("batch %s index %d does not follow %d, the last one booked", e.Key, e.Index, e.Booked)
}

// Config is the ledger's part of the configuration file, under `ledger`.
type Config struct {
	// Store is "sqlite:PATH" or "postgres://…"; empty is ledger.db in the data folder.
	Store string `yaml:"store"`
	// Settle is how long after its end an hour is sealed.
	Settle time.Duration `yaml:"settle"`
	// Grace is how long after its end an hour is sealed at the latest, where an exporter that is not
	// silent has not said that it is complete.
	Grace time.Duration `yaml:"grace"`
	// RowsInMemory bounds the rows of open hours that are kept between transactions.
	RowsInMemory int `yaml:"rows_in_memory"`
	// Reconcile compares what bills with its witnesses.
	Reconcile ReconcileConfig `yaml:"reconcile"`
}

// DefaultConfig returns the settings of an empty file.
func DefaultConfig() Config {
	return Config{Settle: 24 * time.Hour, Grace: 48 * time.Hour, RowsInMemory: 400_000, Reconcile: DefaultReconcileConfig()}
}

// Validate names the key that is wrong.
func (c Config) Validate() error {
	switch {
	case c.Settle < 0:
		return fmt.Errorf("settle: %s is negative", c.Settle)
	case c.Grace < c.Settle:
		return fmt.Errorf("grace: %s is shorter than settle, %s", c.Grace, c.Settle)
	case c.RowsInMemory < 1:
		return fmt.Errorf("rows_in_memory: %d is less than 1", c.RowsInMemory)
	}
	if err := c.Reconcile.Validate(); err != nil {
		return fmt.Errorf("reconcile.%w", err)
	}
	return nil
}

// Ledger books batches and reads usage. It is safe for concurrent use; one booking or sealing runs
// at a time. Several Ledgers, in one process or in many, may share a store.
type Ledger struct {
	db     *store.DB
	cfg    Config
	logger *slog.Logger

	mu     sync.Mutex // guards memory
	memory memory
	// inject makes tests fail at a named step of a transaction; nil otherwise.
	inject func(step string) error
}

// New returns a ledger over a migrated store. It does nothing yet.
func New(db *store.DB, cfg Config) *Ledger {
	if cfg.RowsInMemory < 1 {
		cfg.RowsInMemory = DefaultConfig().RowsInMemory
	}
	return &Ledger{db: db, cfg: cfg, logger: slog.Default()}
}

// SetLogger replaces slog.Default. It is called before the ledger is used.
func (l *Ledger) SetLogger(logger *slog.Logger) { l.logger = logger }

// DB returns the store that the ledger was made with.
func (l *Ledger) DB() *store.DB { return l.db }

// Booked says what a call of Book did.
type Booked struct {
	// Batches were booked; Duplicates had been before; Refused were parked with their reason.
	Batches, Duplicates, Refused int
	Tallies, LateEntries         int
	// Octets is the sum of both directions of the tallies, multiplied by sampling.
	Octets schemas.Octets
	// ReceivedTo is the latest end of receipt among the batches; zero where there was none.
	ReceivedTo time.Time
	// Watermarks of the sequences in the call, as they are now.
	Watermarks stream.Watermarks
}

// Booking numbers late entries: 1, 2, 3 ... without a hole, in the order in which they were booked.
type Booking int64

// Query chooses usage. The zero value of a field chooses everything.
type Query struct {
	// From and To are [From, To); hours and days that begin in it are chosen.
	From, To time.Time
	Meter    schemas.MeterID
	Kind     schemas.MeterKind
	// Through leaves out late entries with a greater number: a statement reads again what it read
	// then. nil adds in everything that has been booked; a Booking of 0 adds in none.
	Through *Booking
}
