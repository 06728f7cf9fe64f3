package aggregator

import (
	"fmt"
	"time"
)

// Config is how the log is booked, under `aggregator` in the configuration file.
type Config struct {
	// CommitEvery is how long batches are gathered for one transaction.
	CommitEvery time.Duration `yaml:"commit_every"`
	// MaxBatches and MaxTallies end the gathering before that. A transaction takes at least what the
	// log hands over at once.
	MaxBatches int `yaml:"max_batches"`
	MaxTallies int `yaml:"max_tallies"`
	// MaintainEvery is how often hours are sealed, usage records told and periods closed.
	MaintainEvery time.Duration `yaml:"maintain_every"`
}

// DefaultConfig returns the settings of an empty file.
func DefaultConfig() Config {
	return Config{CommitEvery: time.Second, MaxBatches: 512, MaxTallies: 100_000, MaintainEvery: time.Minute}
}

// Validate names the key that is wrong.
func (c Config) Validate() error {
	switch {
	case c.CommitEvery <= 0:
		return fmt.Errorf("commit_every: %s is not above 0", c.CommitEvery)
	case c.MaxBatches < 1:
		return fmt.Errorf("max_batches: %d is less than 1", c.MaxBatches)
	case c.MaxTallies < 1:
		return fmt.Errorf("max_tallies: %d is less than 1", c.MaxTallies)
	case c.MaintainEvery <= 0:
		return fmt.Errorf("maintain_every: %s is not above 0", c.MaintainEvery)
	}
	return nil
}
