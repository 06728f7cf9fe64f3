package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"hostmeter/internal/durable"
	"hostmeter/internal/restores"
	"hostmeter/internal/store"
	"hostmeter/internal/stream"
)

// booked is what a machine remembers beside the ledger: how far that had booked. A ledger that was put back from a copy
// is behind it. Where "hostmeter restore" did not say so, the start does what it does: what the ledger before may have
// sent must not go out a second time.
type booked struct {
	At time.Time `json:"at"`
	// Restored is when the ledger was last restored, as far as it knew; the zero time is never.
	Restored time.Time `json:"restored,omitzero"`
	// Batches is the last batch that was booked of each sequence, by its text.
	Batches map[string]uint64 `json:"batches"`
}

// ahead returns a sequence of which a ledger with these watermarks has booked less. A ledger forgets none.
func (b *booked) ahead(marks stream.Watermarks) (sequence string, found bool) {
	has := texts(marks)
	for sequence, index := range b.Batches {
		if has[sequence] < index {
			return sequence, true
		}
	}
	return "", false
}

func texts(marks stream.Watermarks) map[string]uint64 {
	texts := make(map[string]uint64, len(marks))
	for key, index := range marks {
		texts[key.String()] = index
	}
	return texts
}

// bookedFile is where an aggregator's machine remembers it.
func bookedFile(cfg Config) string { return filepath.Join(cfg.Data, "aggregator", "booked.json") }

func readBooked(path string) (b booked, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &b)
	}
	if err != nil {
		err = fmt.Errorf("read %s: %w", path, err)
	}
	return b, err
}

// rememberBooked writes down how far the ledger has booked. What cannot be written is told once: the next ledger that is
// put back is then known by what was written before.
func (a *App) rememberBooked(ctx context.Context) error {
	marks, err := a.desk.ledger.ReadWatermarks(ctx)
	if err != nil {
		return err
	}
	b := booked{At: a.clock.Now().UTC(), Batches: texts(marks)}
	if b.Restored, err = a.desk.lastRestore(ctx); err != nil {
		return err
	}
	text, err := json.Marshal(b)
	if err == nil {
		err = durable.Replace(bookedFile(a.cfg), text)
	}
	if err != nil && !a.forgetful {
		a.logger.Warn("it cannot be written down how far the ledger has booked: one that is put back without \"hostmeter restore\" may not be known", "err", err)
	}
	a.forgetful = err != nil
	return nil
}

// rememberLast writes it down at the stop.
func (a *App) rememberLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainMax)
	defer cancel()
	if err := a.rememberBooked(ctx); err != nil {
		a.logger.Warn("it is not written down how far the ledger has booked", "err", err)
	}
}

// lookForPutBack compares the ledger with what this machine remembers of it, before anything is told to anybody. One that
// is behind, and in which no restore is noted since, is treated as restored.
func (a *App) lookForPutBack(ctx context.Context) error {
	before, err := readBooked(bookedFile(a.cfg))
	if err != nil {
		a.logger.Warn("it is not known how far the ledger had booked: one that was put back without \"hostmeter restore\" is not known", "err", err)
	}
	marks, err := a.desk.ledger.ReadWatermarks(ctx)
	if err != nil {
		return err
	}
	restored, err := a.desk.lastRestore(ctx)
	if err != nil {
		return err
	}
	if sequence, behind := before.ahead(marks); behind && !restored.After(before.Restored) {
		doubt, err := a.desk.doubt(ctx)
		if err != nil {
			return fmt.Errorf("a ledger that was put back: %w", err)
		}
		last, err := a.desk.ledger.LastUsageRecord(ctx)
		if err != nil {
			return err
		}
		a.logger.Error("the ledger is behind what this machine booked: it was put back from a copy, or is another one, and is treated as restored (docs/how-to/keep.md)",
			"sequence", sequence, "booked", texts(marks)[sequence], "had_booked", before.Batches[sequence], "at", before.At,
			"charges_parked", doubt.charges, "mails_in_doubt", doubt.mails, "notifications_in_doubt", doubt.alarms, "last_usage_record", last,
			"hint", `next time stop hostmeter and use "hostmeter restore", which checks the copy; readers of the feed that are past the last usage record take out what they have behind it`)
	}
	return a.rememberBooked(ctx)
}

func (d *Desk) lastRestore(ctx context.Context) (at time.Time, err error) {
	err = d.db.View(ctx, func(tx *store.Tx) error {
		at, err = restores.Last(ctx, tx)
		return err
	})
	return at, err
}
