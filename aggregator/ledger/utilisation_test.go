package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/aggregator/utilisation"
	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

func (w *world) utilisation() []statements.Utilised {
	w.t.Helper()
	rows, err := w.ledger.Utilisation(context.Background(), w.inv, utilisation.DefaultTerms(), w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

// sends lets addresses send a little at a minute since start.
func (w *world) sends(minute int64, addresses ...string) {
	w.t.Helper()
	for _, a := range addresses {
		w.count(counter{"address:" + a, schemas.ClassExternal, minute, 0, 1000, 0})
	}
}

func (w *world) notice(service, prefix, on string) error {
	day, err := rating.ParseDate(on)
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = w.ledger.GiveNotice(context.Background(), w.inv, utilisation.DefaultTerms(),
		inventory.AddressNotice{Service: service, Prefix: netip.MustParsePrefix(prefix), On: day, By: "Jane", Reason: "mail of that day"}, w.now)
	return err
}

// rangeOf lists addresses 10.N.0.first to 10.N.0.last.
func rangeOf(n, first, last int) (list []string) {
	for i := first; i <= last; i++ {
		list = append(list, fmt.Sprintf("10.%d.0.%d", n, i))
	}
	return list
}

// TestAddressUtilisation compares the report of a provider whose addresses came and went with a file that a person
// can check, before and after notices.
func TestAddressUtilisation(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.now = start.Add(20 * 24 * time.Hour) // 21 October
		w.importText(`ownership:
  - {service: london, key: "address:10.1.0.0/29", from: 2026-10-01T08:30:00Z}                                  # 7 of 8: satisfied
  - {service: london, key: "address:10.3.0.0/30", from: 2026-10-01T08:30:00Z}                                  # with it; one is carved out
  - {service: middle, key: "address:10.3.0.2", from: 2026-10-05T00:00:00Z}                                     # satisfied, by its own use alone
  - {service: middle, key: "address:10.2.0.0/28", from: 2026-10-02T00:00:00Z}                                  # 12 of 16: short
  - {service: middle, key: "address:10.4.0.1", from: 2026-10-01T00:00:00Z, until: 2026-10-03T03:17:00Z}        # it sent ...
  - {service: nepal, key: "address:10.4.0.1", from: 2026-10-03T03:17:00Z}                                      # ... and this one has not
  - {service: nepal, key: "address:10.4.0.2", from: 2026-10-15T00:00:00Z}                                      # its days are not over
  - {service: nepal, key: "address:10.4.0.3", from: 2026-10-01T00:00:00Z, until: 2026-10-04T00:00:00Z}         # written down in two pieces
  - {service: nepal, key: "address:10.4.0.3", from: 2026-10-04T00:00:00Z}
  - {service: nepal, key: "address:2001:db8::/48", from: 2026-10-01T00:00:00Z}                                 # IPv6 is not counted
`)
		w.sends(minutes(2, 0, 0), rangeOf(1, 0, 6)...)
		w.sends(minutes(2, 0, 0), "10.3.0.0", "10.3.0.1", "10.3.0.2") // the last one while it was london's
		w.sends(minutes(6, 0, 0), "10.3.0.2")                         // and middle's
		w.sends(minutes(2, 0, 0), rangeOf(2, 0, 11)...)
		w.sends(minutes(0, 12, 0), rangeOf(2, 12, 15)...)                                               // before they were assigned
		w.count(counter{"address:10.2.0.12", schemas.ClassExternal, minutes(9, 0, 0), 1_000_000, 0, 0}) // has received, not sent
		w.sends(minutes(2, 3, 19), "10.4.0.1")                                                          // the change takes effect at 03:20
		w.sends(minutes(1, 0, 0), "10.4.0.3")
		var text bytes.Buffer
		show := func(title string) {
			fmt.Fprintf(&text, "# %s\n", title)
			if err := statements.WriteUtilisedCSV(&text, w.utilisation()); err != nil {
				t.Fatal(err)
			}
		}
		show("21 October 2026, before any notice")
		f := func(want error, part, service, prefix, on string) {
			t.Helper()
			if err := w.notice(service, prefix, on); !errors.Is(err, want) || err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("notice about %s on %s: %v", prefix, on, err)
			}
		}
		f(ErrNotAssigned, "10.2.0.0/29", "middle", "10.2.0.0/29", "2026-10-20")
		f(ErrNotAssigned, "10.2.0.0/28", "london", "10.2.0.0/28", "2026-10-20")
		f(ErrNoticeNotDue, "9 of 11 addresses are used", "london", "10.1.0.0/29", "2026-10-20")
		f(ErrNoticeNotDue, "its days last until 2026-10-12", "middle", "10.2.0.0/28", "2026-10-11")
		f(ErrNoticeNotDue, "its days last until 2026-10-25", "nepal", "10.4.0.2/32", "2026-10-21")
		f(ErrNoticeNotDue, "2026-10-22 is not yet", "middle", "10.2.0.0/28", "2026-10-22")
		f(nil, "", "middle", "10.2.0.0/28", "2026-10-20")
		f(ErrNoticeNotDue, "it was given on 2026-10-20 by Jane", "middle", "10.2.0.0/28", "2026-10-21")
		show("21 October 2026, notice was given on the 20th")
		w.now = start.Add(25 * 24 * time.Hour)
		w.sends(minutes(24, 0, 0), "10.4.0.1") // late, and in time
		show("26 October 2026")
		w.sends(minutes(24, 0, 0), "10.2.0.12")
		w.importText(`ownership: [{service: london, key: "address:10.5.0.1", from: 2026-10-01T00:00:00Z}, {service: nepal, key: "address:10.4.0.2", from: 2026-10-15T00:00:00Z, until: 2026-10-20T00:00:00Z}]`)
		show("26 October 2026: one more of middle's has sent, one of london's is recorded late, one of nepal's was given back")
		const golden = "testdata/utilisation.csv"
		if *update {
			if err := os.WriteFile(golden, text.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || !bytes.Equal(text.Bytes(), want) {
			t.Errorf("%v, got\n%s\nwant\n%s", err, text.Bytes(), want)
		}
	})
}

// TestUsedIsTheTruthWhateverTheOwners compares what is counted as used with a slow twin, for owners that come and go
// in any order and are told late, before and after hours are sealed.
func TestUsedIsTheTruthWhateverTheOwners(t *testing.T) {
	storetest.EachWithClock(t, clock.NewManual(start), func(t *testing.T, db *store.DB) {
		runs := 0
		rapid.Check(t, func(t *rapid.T) {
			if runs++; runs > worldsAtMost() {
				return
			}
			emptyWorld(t, db)
			w := newWorld(t, db)
			for range rapid.IntRange(3, 9).Draw(t, "steps") {
				switch rapid.SampledFrom([]string{"send", "send", "own", "seal"}).Draw(t, "step") {
				case "send":
					tally := w.drawTally(t)
					tally.out = rapid.Uint64Range(0, 2).Draw(t, "sent")
					tally.in++
					w.send(tally)
				case "own":
					w.drawOwnership(t)
				case "seal":
					w.seal(time.Duration(rapid.IntRange(1, 6*24).Draw(t, "hours")) * time.Hour)
				}
				w.checkUsed()
			}
		})
	})
}

// checkUsed counts each address of each prefix by looking at every octet that was ever sent.
func (w *world) checkUsed() {
	w.t.Helper()
	got := map[string]int64{}
	for _, r := range w.utilisation() {
		got[r.Service+" "+r.Prefix.String()] = r.Used
		if r.Used > r.Addresses {
			w.t.Errorf("%+v", r)
		}
	}
	nowMinute := int64(w.now.Sub(start) / time.Minute)
	want := map[string]int64{}
	for _, address := range []string{"10.1.0.1", "10.1.0.2", "10.2.0.1"} {
		key, owner, from := w.ownedNow(address, nowMinute)
		if owner == "" {
			continue
		}
		for _, s := range w.sent {
			sentKey, sentOwner, _ := w.ownedNow(address, s.minute/5*5)
			if s.meter == "address:"+address && s.out > 0 && s.minute/5*5 >= from && sentKey == key && sentOwner == owner {
				prefix := strings.TrimPrefix(key, "address:")
				if !strings.Contains(prefix, "/") {
					prefix += "/32"
				}
				want[owner+" "+prefix]++
				break
			}
		}
	}
	for name, n := range got {
		if want[name] != n {
			w.t.Errorf("%s: %d used, want %d", name, n, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		w.t.Errorf("not in the report: %v", want)
	}
}

// ownedNow returns who has an address at a minute, by which key, and since when without a gap.
func (w *world) ownedNow(address string, minute int64) (key, owner string, from int64) {
	up := func(m int64) int64 { return (m + 4) / 5 * 5 }
	for _, key := range []string{"address:" + address, "address:" + address[:strings.LastIndex(address, ".")] + ".0/24"} {
		list := w.owners[key]
		for i, o := range list {
			if up(o.from) <= minute && minute < up(o.until) {
				from := up(o.from)
				for j := i - 1; j >= 0 && list[j].service == o.service && up(list[j].until) == up(list[j+1].from); j-- {
					from = up(list[j].from)
				}
				return key, o.service, from
			}
		}
	}
	return "", "", 0
}
