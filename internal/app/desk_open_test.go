package app

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"hostmeter/internal/clock"
	"hostmeter/internal/store"
)

// Whichever reply of the store is lost while a ledger is brought up to date, the start goes on.
func TestALostReplyDoesNotStopTheStart(t *testing.T) {
	ctx := context.Background()
	commits := 0
	open := func(lost int) error {
		db, err := store.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "ledger.db"), clock.Real{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		commits = 0
		db.Inject(store.Faults{AfterCommit: func() error {
			if commits++; commits == lost {
				return errors.New("reply lost")
			}
			return nil
		}})
		return bringUpToDate(ctx, db)
	}
	if err := open(0); err != nil {
		t.Fatal(err)
	}
	all := commits
	for _, lost := range []int{1, 2, all / 2, all - 1, all} {
		if err := open(lost); err != nil {
			t.Errorf("the reply to commit %d of %d was lost: %v", lost, all, err)
		}
	}
}
