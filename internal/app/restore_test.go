package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/restores"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

const restoreInventory = `
provider: {name: Example Hosting, time_zone: UTC, currency: GBP}
prefixes: [{prefix: 192.0.2.0/24, exporters: [192.0.2.250]}]
prices: [{sku: overage, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: GB, begun: true, amount: "0.50"}]
plans: [{name: month, quota: 2 GB, direction: sum, period: calendar}]
customers: [{id: c1, name: Ada Ltd}]
services: [{id: s1, customer: c1, plan: month, place: london, opened: 2026-01-01}]
ownership: [{service: s1, key: "address:192.0.2.9", from: 2026-01-01T00:00:00Z}]
`

// installation is one configuration whose processes come and go.
type installation struct {
	t    *testing.T
	path string
	cfg  Config
}

func install(t *testing.T, storeLine string) *installation {
	t.Helper()
	path := write(t, "data: "+t.TempDir()+"\ncollector: {id: c, local: [192.0.2.0/24]}\ndetector: {checkpoint: 1s}\nhttp: {listen: \"127.0.0.1:0\"}\n"+storeLine)
	cfg, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	in := &installation{t: t, path: path, cfg: cfg}
	in.desk(func(d *Desk) {
		if _, err := d.inventory.Import(t.Context(), []inventory.File{{Name: "in.yaml", Text: []byte(restoreInventory)}}, false); err != nil {
			t.Fatal(err)
		}
	})
	return in
}

func (in *installation) desk(f func(*Desk)) {
	in.t.Helper()
	d, err := OpenDesk(in.t.Context(), in.path)
	if err != nil {
		in.t.Fatal(err)
	}
	defer d.Close()
	f(d)
}

// run appends batches of minutes [from, to) to the log, lets the whole process book them, and calls between in the
// middle of it.
func (in *installation) run(from, to int, between func(*App)) {
	in.t.Helper()
	a := New(in.cfg, All, clock.Real{}, slog.New(slog.DiscardHandler))
	defer a.Close()
	ctx, stop := context.WithTimeout(in.t.Context(), time.Minute)
	defer stop()
	if err := a.Open(ctx); err != nil {
		in.t.Fatal(err)
	}
	ended := make(chan error, 1)
	running, end := context.WithCancel(ctx)
	go func() { ended <- a.Run(running) }()
	for minute := from; minute < to; minute++ {
		if err := a.tail.Append(ctx, []*schemas.Batch{batchOfMinute(minute)}); err != nil {
			in.t.Fatal(err)
		}
	}
	if between != nil {
		between(a)
	}
	// A new process that appended nothing still has what the log holds to book.
	if err := a.aggregator.WaitFor(ctx, a.tail.End()); err != nil {
		in.t.Fatal(err)
	}
	end()
	if err := <-ended; err != nil {
		in.t.Fatal(err)
	}
}

// recent is a minute of not long ago, so that no hour of the test is sealed.
var recent = time.Now().Add(-2 * time.Hour).Truncate(time.Hour)

func batchOfMinute(minute int) *schemas.Batch {
	at := recent.Add(time.Duration(minute) * time.Minute)
	octets := uint64(1000*minute + 7)
	return &schemas.Batch{
		Shard: schemas.ShardOf("address:192.0.2.9", 16), Exporters: []string{"192.0.2.250"}, Classes: []string{schemas.ClassExternal},
		ReceivedFrom: at.UnixNano(), ReceivedTo: at.Add(time.Minute).UnixNano(),
		Tallies: []*schemas.Tally{{Meter: "address:192.0.2.9", Minute: at.Unix() / 60, In: &schemas.Traffic{Octets: octets, Packets: 1, Flows: 1}}},
		Accounts: []*schemas.ExporterAccount{{Exporter: "192.0.2.250", Protocol: "netflow9", Hour: at.Unix() / 3600, MinutesObserved: 1 << uint(at.Minute()),
			Datagrams: 1, Records: 1, Octets: octets, OctetsOnce: octets}},
	}
}

// usage prints the whole ledger, and verifies it.
func (in *installation) usage() string {
	in.t.Helper()
	var out bytes.Buffer
	in.desk(func(d *Desk) {
		if err := d.Verify(in.t.Context(), false, &out); err != nil {
			in.t.Fatalf("%v:\n%s", err, out.String())
		}
		out.Reset()
		o := UsageOptions{From: recent.Format(time.RFC3339), To: recent.Add(48 * time.Hour).Format(time.RFC3339), By: "hour", Format: "csv"}
		if err := d.Usage(in.t.Context(), o, &out); err != nil {
			in.t.Fatal(err)
		}
	})
	return out.String()
}

// TestBackupRestoreAndReplay backs a ledger up while it is booked into, goes on, loses it, restores it, and lets a
// new process go on from the log: the usage is what it was, and what comes later is added.
func TestBackupRestoreAndReplay(t *testing.T) {
	in := install(t, "")
	backup := filepath.Join(t.TempDir(), "backup.db")
	in.run(0, 200, func(*App) {
		in.desk(func(d *Desk) {
			if err := d.Backup(t.Context(), backup, io.Discard); err != nil {
				t.Fatal(err)
			}
		})
	})
	want := in.usage()
	if !strings.Contains(want, "address:192.0.2.9") && strings.Count(want, "\n") < 4 {
		t.Fatalf("usage:\n%s", want)
	}
	if err := Restore(t.Context(), in.path, RestoreOptions{File: backup}, io.Discard); err == nil || hintOf(err) == "" {
		t.Fatalf("over a ledger that is there: %v", err)
	}
	for _, name := range []string{"ledger.db", "ledger.db-wal", "ledger.db-shm"} {
		if err := os.Remove(filepath.Join(in.cfg.Data, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	in.restoreAndGoOn(want, RestoreOptions{File: backup})
}

// restoreAndGoOn restores, runs on, and compares with an installation in which nothing happened.
func (in *installation) restoreAndGoOn(want string, o RestoreOptions) {
	in.t.Helper()
	var said bytes.Buffer
	if err := Restore(in.t.Context(), in.path, o, &said); err != nil {
		in.t.Fatal(err)
	}
	if !strings.Contains(said.String(), "everything adds up") || !strings.Contains(said.String(), "next: start hostmeter") {
		in.t.Fatalf("restore says\n%s", said.String())
	}
	in.run(200, 201, nil) // its batch is behind those that the restored ledger lacks
	undisturbed := install(in.t, "")
	undisturbed.run(0, 201, nil)
	if got := in.usage(); got != undisturbed.usage() || got == want {
		in.t.Fatalf("after the restore\n%s\nwant\n%s", got, undisturbed.usage())
	}
	in.desk(func(d *Desk) {
		if gaps, err := d.ledger.Gaps(in.t.Context()); err != nil || len(gaps) != 0 {
			in.t.Fatalf("gaps %v, %v", gaps, err)
		}
	})
	if noted := in.restores(); len(noted) != 1 {
		in.t.Fatalf("%d restores are noted, want the one", len(noted))
	}
}

// restores are those that are noted in the ledger.
func (in *installation) restores() (list []restores.Restore) {
	in.t.Helper()
	in.desk(func(d *Desk) {
		err := d.db.View(in.t.Context(), func(tx *store.Tx) (err error) {
			list, err = restores.All(in.t.Context(), tx)
			return err
		})
		if err != nil {
			in.t.Fatal(err)
		}
	})
	return list
}

// TestLedgerPutBackByHand puts an older copy in place of the ledger, and tells nobody: the next start treats it as
// restored, and only that one.
func TestLedgerPutBackByHand(t *testing.T) {
	in := install(t, "")
	path := filepath.Join(in.cfg.Data, "ledger.db")
	in.run(0, 100, nil)
	copied, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	in.run(100, 150, nil)
	if noted := in.restores(); len(noted) != 0 {
		t.Fatalf("before: %d restores", len(noted))
	}
	for _, name := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + name); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, copied, 0o600); err != nil {
		t.Fatal(err)
	}
	for minute := 150; minute < 152; minute++ {
		in.run(minute, minute+1, nil)
		if noted := in.restores(); len(noted) != 1 {
			t.Fatalf("minute %d: %d restores, want 1", minute, len(noted))
		}
	}
	undisturbed := install(t, "")
	undisturbed.run(0, 152, nil)
	if got, want := in.usage(), undisturbed.usage(); got != want {
		t.Fatalf("usage\n%s\nwant\n%s", got, want)
	}
}

func TestAheadOfALedger(t *testing.T) {
	one, two, other := stream.Key{Collector: "a", LogID: 1}, stream.Key{Collector: "a", LogID: 2, Shard: 7}, stream.Key{Collector: "b", LogID: 3}
	before := booked{Batches: map[string]uint64{one.String(): 90, two.String(): 50}}
	for name, c := range map[string]struct {
		marks stream.Watermarks
		want  string
	}{
		"as it was":         {stream.Watermarks{one: 90, two: 50}, ""},
		"further":           {stream.Watermarks{one: 90, two: 51, other: 1}, ""},
		"one batch less":    {stream.Watermarks{one: 90, two: 49, other: 1}, two.String()},
		"one sequence less": {stream.Watermarks{two: 50, other: 1}, one.String()},
	} {
		if got, found := before.ahead(c.marks); got != c.want || found != (c.want != "") {
			t.Errorf("%s: %q, %t, want %q", name, got, found, c.want)
		}
	}
	if _, found := new(booked).ahead(nil); found {
		t.Error("a new ledger of a new installation is behind")
	}
}

func hintOf(err error) string {
	var hint *HintError
	if errors.As(err, &hint) {
		return hint.Hint
	}
	return ""
}

// TestBackupOfPostgreSQL runs the very commands that hostmeter names.
func TestBackupOfPostgreSQL(t *testing.T) {
	dsn := storetest.EmptyPostgres(t)
	in := install(t, "ledger: {store: \""+dsn+"\"}\n")
	in.run(0, 100, nil)
	backup := filepath.Join(t.TempDir(), "it's.dump")
	var err error
	in.desk(func(d *Desk) { err = d.Backup(t.Context(), backup, io.Discard) })
	command := regexp.MustCompile(`pg_dump .*?(; later|$)`).FindString(hintOf(err))
	shell(t, strings.TrimSuffix(command, "; later"))
	in.run(100, 200, nil)
	want := in.usage()
	err = Restore(t.Context(), in.path, RestoreOptions{File: backup}, io.Discard)
	command = regexp.MustCompile(`pg_restore .*?FILE`).FindString(hintOf(err))
	shell(t, strings.Replace(command, "FILE", quoted(backup), 1))
	in.restoreAndGoOn(want, RestoreOptions{Restored: true})
}

// shell runs a command of PostgreSQL's as its user would, with the password in the environment.
func shell(t *testing.T, command string) {
	t.Helper()
	if command == "" {
		t.Fatal("no command is named")
	}
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Reverse(bins)
	process := exec.Command("sh", "-c", command)
	process.Env = append(os.Environ(), "PGPASSWORD=meter", "PATH="+strings.Join(append(bins, os.Getenv("PATH")), ":"))
	if out, err := process.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

func TestRestoreNeedsAFileOrRestored(t *testing.T) {
	for _, o := range []RestoreOptions{{}, {File: "x", Restored: true}} {
		if err := Restore(t.Context(), "nowhere.yaml", o, io.Discard); !errors.Is(err, ErrUsage) {
			t.Fatalf("%s: got %v, want wrong usage", fmt.Sprint(o), err)
		}
	}
}
