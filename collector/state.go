package collector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"hostmeter/internal/durable"
	"hostmeter/internal/failpoint"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// state is what the log has: the sources' positions of the last batches that it took, and which
// batches these were. It is written to a file now and then; what the log took since is read back from
// the log, so that the file is never ahead of it and need not be exact.
type state struct {
	positions  map[positionKey]*schemas.SourcePosition
	watermarks stream.Watermarks
	written    stream.Watermarks // that the file has
	saved      time.Time
	failed     bool // the last save failed, and was told of
}

type positionKey struct{ source, key string }

const (
	stateFile = "positions.json"
	// saveEvery is how often the file is written while the log can be read back.
	saveEvery = 10 * time.Second
	// logsMost bounds the runs of the log whose last batches are remembered, positionAge how long
	// a position is kept that does not move, where there are more than positionsMost: with fewer it costs
	// nothing, and a clock that is set forward by a month makes nobody forgotten.
	logsMost      = 64
	positionAge   = 30 * 24 * time.Hour
	positionsMost = 50_000
	// readBackMost is how much of the log is read back where no positions are saved. Who sent nothing for longer before
	// the collector stopped begins anew.
	readBackMost = 24 * time.Hour
	// readBackStuck is for how long the log may give nothing while it is read back, longer than it takes to give up a
	// bad block; readBackTold is how often its progress is told.
	readBackStuck = 5 * time.Minute
	readBackTold  = 10 * time.Second
)

func newState() *state {
	return &state{positions: map[positionKey]*schemas.SourcePosition{}, watermarks: stream.Watermarks{}}
}

// took notes batches that the log has, in the order in which it took them: a later position is the one
// to go on from, whatever its time says, for the clock may have been set back.
func (s *state) took(batches []*schemas.Batch) {
	for _, b := range batches {
		key := stream.KeyOf(b)
		s.watermarks[key] = max(s.watermarks[key], b.GetIndex())
		for _, p := range b.GetPositions() {
			s.positions[positionKey{p.GetSource(), p.GetKey()}] = p
		}
	}
}

// storedState is the file.
type storedState struct {
	Version    int               `json:"version"`
	Collector  string            `json:"collector"`
	Watermarks []storedWatermark `json:"watermarks"`
	Positions  []storedPosition  `json:"positions"`
}

type storedWatermark struct {
	LogID string `json:"log_id"` // hexadecimal
	Shard uint32 `json:"shard"`
	Index uint64 `json:"index"`
}

type storedPosition struct {
	Source string   `json:"source"`
	Key    string   `json:"key"`
	Values []uint64 `json:"values,omitempty"`
	At     int64    `json:"at"`
}

// save writes the file if it is due. That it cannot is told once and does not stop the collector:
// the log has the positions too.
func (s *state) save(dir, collector string, at time.Time, logger *slog.Logger) {
	if at.Sub(s.saved).Abs() < saveEvery {
		return
	}
	s.forget(at)
	s.saved = at
	err := s.write(dir, collector)
	if err != nil && !s.failed {
		logger.Error("the positions of the sources cannot be saved", "err", err)
	}
	s.failed = err != nil
	if err == nil {
		s.written = maps.Clone(s.watermarks)
	}
}

// keeper is a log that deletes what nobody needs.
type keeper interface {
	// Keep says how far the positions are saved: what is behind that is read back after a kill.
	Keep(saved stream.Watermarks)
}

// recent is a log that knows where the newest part of it begins.
type recent interface {
	Newest(span time.Duration) stream.Watermarks
}

// saveState writes the positions if it is due, and tells the log.
func (c *Collector) saveState(at time.Time) {
	c.state.save(c.deps.StateDir, c.cfg.ID, at, c.deps.Logger)
	if log, ok := c.deps.Log.(keeper); ok {
		log.Keep(c.state.written)
	}
}

func (s *state) forget(at time.Time) {
	for key, p := range s.positions {
		if len(s.positions) <= positionsMost {
			break
		}
		if at.Sub(time.Unix(0, p.GetAt())) > positionAge {
			delete(s.positions, key)
		}
	}
	var logs []uint64
	for key := range s.watermarks {
		if !slices.Contains(logs, key.LogID) {
			logs = append(logs, key.LogID)
		}
	}
	slices.Sort(logs)
	for len(logs) > logsMost { // log ids grow
		for key := range s.watermarks {
			if key.LogID == logs[0] {
				delete(s.watermarks, key)
			}
		}
		logs = logs[1:]
	}
}

func (s *state) write(dir, collector string) error {
	stored := storedState{Version: 1, Collector: collector}
	for key, index := range s.watermarks {
		stored.Watermarks = append(stored.Watermarks, storedWatermark{strconv.FormatUint(key.LogID, 16), key.Shard, index})
	}
	for key, p := range s.positions {
		stored.Positions = append(stored.Positions, storedPosition{key.source, key.key, p.GetValues(), p.GetAt()})
	}
	text, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(dir, stateFile), text)
}

// load reads the file; a missing one is an empty state.
func (s *state) load(dir, collector string) error {
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var stored storedState
	if err := json.Unmarshal(text, &stored); err != nil {
		return err
	}
	if stored.Version != 1 || stored.Collector != collector {
		return fmt.Errorf("it is version %d of collector %q", stored.Version, stored.Collector)
	}
	for _, w := range stored.Watermarks {
		id, err := strconv.ParseUint(w.LogID, 16, 64)
		if err != nil {
			return err
		}
		s.watermarks[stream.Key{Collector: collector, LogID: id, Shard: w.Shard}] = w.Index
	}
	s.written = maps.Clone(s.watermarks)
	for _, p := range stored.Positions {
		s.positions[positionKey{p.Source, p.Key}] = &schemas.SourcePosition{Source: p.Source, Key: p.Key, Values: p.Values, At: p.At}
	}
	return nil
}

// recover finds where the run before ended. What had been fed before, as a simulation does, is newer.
func (c *Collector) recover(ctx context.Context) error {
	c.flushMu.Lock()
	defer c.flushMu.Unlock()
	c.recovers = true
	c.learned = openLearned(c.deps.StateDir, c.deps.Logger)
	if c.fed() {
		return nil
	}
	if err := c.state.load(c.deps.StateDir, c.cfg.ID); err != nil {
		c.deps.Logger.Warn("the saved positions of the sources are not used",
			"path", filepath.Join(c.deps.StateDir, stateFile), "err", err)
		c.state = newState()
	}
	if source, ok := c.deps.Log.(stream.Source); ok {
		if err := c.readBack(ctx, source); err != nil {
			return fmt.Errorf("read back the positions of the sources: %w", err)
		}
	}
	if failpoint.Fault(failpoint.ForgetPositions) {
		c.state = newState()
	}
	c.restore(c.state.positions)
	c.saveState(c.deps.Clock.Now())
	return nil
}

// readBack reads what the log took after the file was written; without the file, its newest part. To know where
// the log ends it appends a batch without content to every shard, and reads until it meets them, for as long as that
// takes.
func (c *Collector) readBack(ctx context.Context, source stream.Source) error {
	now := c.deps.Clock.Now()
	if log, ok := c.deps.Log.(recent); ok && len(c.state.watermarks) == 0 {
		c.state.watermarks = log.Newest(readBackMost)
	}
	nothing := newCut(c.cfg.Shards, nil)
	nothing.received = interval{now, now}
	end := nothing.batches(c.cfg.ID, true)
	if err := c.deps.Log.Append(ctx, end); err != nil {
		return err
	}
	missing := map[stream.Key]uint64{}
	for _, b := range end {
		missing[stream.KeyOf(b)] = b.GetIndex()
	}
	reader, err := source.OpenReader(ctx, "positions", c.state.watermarks)
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close() }()
	read, told := 0, now
	for len(missing) > 0 {
		batches, err := nextOf(ctx, reader)
		var gap *stream.GapError
		if errors.As(err, &gap) {
			c.deps.Logger.Warn("a part of the log is gone: what was lost in it is not declared", "err", err)
			continue
		}
		if err != nil {
			return err
		}
		for _, b := range batches {
			if b.GetCollector() != c.cfg.ID {
				continue
			}
			c.state.took([]*schemas.Batch{b})
			if index, waits := missing[stream.KeyOf(b)]; waits && b.GetIndex() >= index {
				delete(missing, stream.KeyOf(b))
			}
		}
		read += len(batches)
		if at := c.deps.Clock.Now(); at.Sub(told).Abs() >= readBackTold && len(batches) > 0 {
			told = at
			c.deps.Logger.Info("reading the log back for the positions of the sources; nothing is received before that is done",
				"batches", read, "received", time.Unix(0, batches[len(batches)-1].GetReceivedTo()).UTC(), "since", now)
		}
	}
	return nil
}

// nextOf reads on. Errors: those of Next; context.DeadlineExceeded where there is no progress.
func nextOf(ctx context.Context, reader stream.Reader) ([]*schemas.Batch, error) {
	ctx, cancel := context.WithTimeout(ctx, readBackStuck)
	defer cancel()
	return reader.Next(ctx, 256)
}
