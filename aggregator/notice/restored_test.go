package notice

import (
	"strings"
	"testing"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/internal/restores"
	"hostmeter/internal/store"
)

func (l *lab) restore() (marked int) {
	l.t.Helper()
	err := l.db.Update(l.t.Context(), func(tx *store.Tx) (err error) {
		if err := restores.Add(l.t.Context(), tx); err != nil {
			return err
		}
		marked, err = Restored(l.t.Context(), tx)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return marked
}

// TestMailIsMarkedAfterARestore: what the ledger that was lost may have sent is sent once, and says so; what comes up later
// is new.
func TestMailIsMarkedAfterARestore(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		l.books.list = []ledger.Current{*l.use("s1", 5.1, 0.3)}
		l.look() // 50 %: its mail waits in the backup
		if n := l.restore(); n != 1 {
			t.Fatalf("%d are marked, want 1", n)
		}
		l.books.list = []ledger.Current{*l.use("s1", 7.6, 0.3)}
		l.look() // 75 %: in no table of the backup, and told by the ledger that was lost
		l.send()
		marked := len(l.post.got)
		l.clock.Advance(restores.Replay)
		l.books.list = []ledger.Current{*l.use("s1", 9.1, 0.3)}
		l.look()
		l.send()
		l.clock.Advance(time.Hour)
		l.send() // nothing goes out a second time
		if all, err := l.Notices.Notices(t.Context(), 0, 100); err != nil || marked < 2 || len(all) != len(l.post.got) || len(all) == marked {
			t.Fatalf("%d mails, %d of them marked, %v; want one for each notice:\n%s", len(l.post.got), marked, err, l.all())
		}
		for i, m := range l.post.got {
			if repeat := strings.HasPrefix(m.Subject, "[Possible repeat] "); repeat != (i < marked) {
				t.Fatalf("mail %d has the subject %q", i+1, m.Subject)
			}
		}
	})
}

// TestARepeatIsNotRepeatedAfterARestore: the backup has a mail of which nobody knew whether it was there; its repeat was
// sent before the ledger was lost.
func TestARepeatIsNotRepeatedAfterARestore(t *testing.T) {
	l := oneLab(t)
	l.books.list = []ledger.Current{*l.use("s1", 5.1, 0.3)}
	l.post.answers = []error{errLost}
	l.look()
	l.send()
	if n := l.restore(); n != 0 {
		t.Fatalf("%d are marked, want none", n)
	}
	l.clock.Advance(time.Hour)
	l.send()
	mails, err := l.mails()
	if err != nil || len(l.post.got) != 1 || mails[1].State != MailUnsure || !strings.Contains(mails[1].Error, "restored from a backup") {
		t.Fatalf("%d mails, %+v, %v", len(l.post.got), mails, err)
	}
}
