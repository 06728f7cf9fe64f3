package disk

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/internal/clock"
	"hostmeter/internal/config"
	"hostmeter/internal/stream/disk/files"
)

// Config says where the log lies and how much of it is kept.
type Config struct {
	// Path is the log's folder. One process at a time has it open.
	Path string `yaml:"path"`
	// SegmentSize is when a new file is begun. A single append that is larger has a larger file.
	SegmentSize config.Size `yaml:"segment_size"`
	// Retain is for how long batches are kept at least, once they are confirmed. What is not
	// confirmed is kept for as long as it takes.
	Retain time.Duration `yaml:"retain"`
	// MaxSize bounds the folder. Confirmed batches give way to it before Retain is over; when what
	// is not confirmed reaches it, appends are refused. 0: the disk is the bound.
	MaxSize config.Size `yaml:"max_size"`
}

// DefaultConfig keeps three days in files of 64 MiB, at most 32 GiB.
func DefaultConfig() Config {
	return Config{Path: "data/log", SegmentSize: 64 << 20, Retain: 72 * time.Hour, MaxSize: 32 << 30}
}

// Validate names the first key whose value cannot work.
func (c Config) Validate() error {
	switch {
	case c.Path == "":
		return errors.New("path: missing folder")
	case c.SegmentSize < 4096:
		return fmt.Errorf("segment_size: %d bytes are too few, want at least 4 KiB", c.SegmentSize)
	case c.Retain < 0:
		return fmt.Errorf("retain: %s is negative", c.Retain)
	case c.MaxSize < 0 || c.MaxSize > 0 && c.MaxSize < 4*c.SegmentSize:
		return fmt.Errorf("max_size: %d bytes, want 0 (no bound) or at least four times segment_size (%d)", c.MaxSize, c.SegmentSize)
	}
	return nil
}

// Deps are what a log is given. The zero value works.
type Deps struct {
	Clock   clock.Clock
	Logger  *slog.Logger
	Metrics prometheus.Registerer

	// Files is the disk: the machine's where nil. Tests put one with faults here.
	Files files.System
}

func (d Deps) withDefaults() Deps {
	if d.Clock == nil {
		d.Clock = clock.Real{}
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	if d.Files == nil {
		d.Files = files.OS{}
	}
	return d
}
