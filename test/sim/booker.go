package sim

import (
	"context"
	"errors"
	"time"

	"hostmeter/aggregator"
	"hostmeter/aggregator/ledger"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// booker is an aggregator: one process. It believes to own every shard, as its rival does.
type booker struct {
	h          *history
	source     stream.Source
	clock      *stepped
	ledger     *ledger.Ledger // nil: the process is down
	inventory  *inventory.Inventory
	aggregator *aggregator.Aggregator
	reader     stream.Reader
	// held is what was read and is not booked yet: a process that is paused here goes on with it, whatever
	// has happened meanwhile.
	held  []*schemas.Batch
	gap   *stream.GapError
	began stream.Watermarks // behind which the session began

	failCommit, loseReply bool // at the next commit
}

// stepped is a clock that is wrong.
type stepped struct {
	of interface{ Now() time.Time }
	by time.Duration
}

func (c *stepped) Now() time.Time { return c.of.Now().Add(c.by) }

func (c *stepped) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

var errCommit = errors.New("the store is away")

func (b *booker) up() {
	b.h.db.Inject(store.Faults{
		BeforeCommit: func() error { return b.once(&b.failCommit, commitFailed) },
		AfterCommit:  func() error { return b.once(&b.loseReply, replyLost) },
	})
	if b.ledger != nil {
		return
	}
	cfg := ledgerConfig()
	cfg.RowsInMemory = []int{1, 3, 1000}[b.h.random.IntN(3)]
	b.ledger = ledger.New(b.h.db, cfg)
	b.ledger.SetLogger(quiet)
	b.inventory = inventory.New(b.h.db)
	var err error
	b.aggregator, err = aggregator.New(aggregator.DefaultConfig(), aggregator.Deps{
		Ledger: b.ledger, Source: b.source, Clock: b.clock, Logger: quiet,
		AfterSeal: func(ctx context.Context) error {
			_, err := b.ledger.EmitUsageRecords(ctx, b.inventory)
			return err
		},
	})
	must(err)
}

// ledgerConfig seals early, so that much is late.
func ledgerConfig() ledger.Config {
	cfg := ledger.DefaultConfig()
	cfg.Settle, cfg.Grace = 2*time.Hour, 4*time.Hour
	return cfg
}

// once lets a fault strike that is set.
func (b *booker) once(what *bool, name string) error {
	if !*what {
		return nil
	}
	*what = false
	b.h.count(name)
	return errCommit
}

// down ends the process. What it held is forgotten.
func (b *booker) down() {
	b.leave()
	b.ledger = nil
	b.failCommit, b.loseReply = false, false
}

// leave ends the session: the next one begins behind what is booked.
func (b *booker) leave() {
	if b.reader != nil {
		_ = b.reader.Close()
	}
	b.reader, b.held, b.gap = nil, nil, nil
}

// read takes more from the log, unless it holds something.
func (b *booker) read(most int) {
	b.up()
	if b.held != nil || b.gap != nil {
		return
	}
	if b.reader == nil {
		if b.h.sabotage == ForgetWatermark && b.h.random.IntN(2) == 0 {
			b.forgetWatermarks()
		}
		marks, err := b.ledger.Watermarks(background)
		must(err)
		b.began = marks
		b.confirm(marks)
		if b.reader, err = b.source.OpenReader(background, aggregator.Consumer, marks); err != nil {
			b.reader = nil
			return
		}
	}
	batches, err := b.reader.Next(impatient(), most)
	if err != nil && !errors.As(err, &b.gap) && !errors.Is(err, context.DeadlineExceeded) {
		b.leave() // its log is gone with its process
		return
	}
	b.held = batches
	if b.h.sabotage == DropTally && len(batches) > 0 && len(batches[0].GetTallies()) > 1 {
		batches[0].Tallies = batches[0].Tallies[1:]
	}
	if b.h.sabotage == ConfirmEarly && len(batches) > 0 {
		last := batches[len(batches)-1]
		_ = b.source.Confirm(background, stream.Watermarks{stream.KeyOf(last): last.GetIndex()})
	}
}

// book books what is held.
func (b *booker) book() {
	if b.held == nil && b.gap == nil {
		return
	}
	b.up()
	b.countHistory()
	var err error
	if b.gap != nil {
		err = b.ledger.DeclareGap(background, b.gap)
	} else {
		err = b.aggregator.Process(background, b.held)
	}
	var hole *ledger.HoleError
	switch {
	case err == nil:
		b.held, b.gap = nil, nil
	case errors.Is(err, errCommit), errors.Is(err, ledger.ErrOvertaken), errors.Is(err, store.ErrUnknownOutcome), store.IsConflict(err), errors.As(err, &hole):
		if b.h.sabotage == AssumeBooked && errors.Is(err, errCommit) && b.gap == nil {
			b.assumeBooked()
		}
		b.leave()
	default:
		failf("booking: %v", err)
	}
}

// countHistory notes what has happened to what is held, since it was read.
func (b *booker) countHistory() {
	marks, err := b.ledger.ReadWatermarks(background)
	must(err)
	again, paused := false, false
	for _, batch := range b.held {
		if key := stream.KeyOf(batch); batch.GetIndex() <= marks[key] {
			again = true
			paused = paused || batch.GetIndex() > b.began[key]
		}
	}
	if again {
		b.h.count(batchRepeated)
	}
	if paused {
		b.h.count(ownerPaused)
	}
}

// confirm tells the log what is booked, as the aggregator does when it begins.
func (b *booker) confirm(marks stream.Watermarks) {
	if b.h.random.IntN(4) > 0 {
		_ = b.source.Confirm(background, marks)
	}
}

// maintain seals and tells usage records. A fault of the store is met again at the next time.
func (b *booker) maintain() {
	b.up()
	if err := b.aggregator.Maintain(background); err != nil && !errors.Is(err, errCommit) && !store.IsConflict(err) && !errors.Is(err, ledger.ErrOvertaken) {
		failf("maintaining: %v", err)
	}
}

// forgetWatermarks is a sabotage.
func (b *booker) forgetWatermarks() {
	_ = b.h.db.Update(background, func(tx *store.Tx) error {
		_, err := tx.Exec(background, `UPDATE watermark SET idx = idx - 1 WHERE idx > 1`)
		return err
	})
}

// assumeBooked is a sabotage.
func (b *booker) assumeBooked() {
	_ = b.h.db.Update(background, func(tx *store.Tx) error {
		for _, batch := range b.held {
			if _, err := tx.Exec(background, `UPDATE watermark SET idx = ? WHERE collector = ? AND shard = ? AND idx = ?`,
				int64(batch.GetIndex()), batch.GetCollector(), int64(batch.GetShard()), int64(batch.GetIndex()-1)); err != nil {
				return err
			}
		}
		return nil
	})
}
