package store

import "fmt"

// Faults are what a test lets go wrong with transactions that may write; a program sets none.
type Faults struct {
	// BeforeCommit is called when all of a transaction is done but its commit. With its error nothing of
	// it takes effect.
	BeforeCommit func() error
	// AfterCommit is called when a transaction has taken effect. Its error stands for a reply that was
	// lost.
	AfterCommit func() error
}

// Inject replaces the faults. It is called while no transaction runs.
func (db *DB) Inject(f Faults) {
	if lost := f.AfterCommit; lost != nil {
		f.AfterCommit = func() error {
			if err := lost(); err != nil {
				return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
			}
			return nil
		}
	}
	db.faults = f
}

// around puts BeforeCommit behind what a transaction does.
func (f Faults) around(do func(tx *Tx) error) func(tx *Tx) error {
	if f.BeforeCommit == nil {
		return do
	}
	return func(tx *Tx) error {
		if err := do(tx); err != nil {
			return err
		}
		return f.BeforeCommit()
	}
}
