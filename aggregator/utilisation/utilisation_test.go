package utilisation

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/aggregator/rating"
)

func london(t testing.TB) *time.Location {
	zone, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestClocks(t *testing.T) {
	zone := london(t)
	at := func(text string) time.Time {
		instant, err := time.ParseInLocation("2006-01-02 15:04", text, zone)
		if err != nil {
			t.Fatal(err)
		}
		return instant
	}
	f := func(addresses, used int64, notice, now string, needed int64, want State) {
		t.Helper()
		a := Assignment{At: at("2026-10-20 09:30"), Prefixes: []Prefix{{Prefix: netip.MustParsePrefix("192.0.2.0/28"), Addresses: addresses, Used: used}}}
		if notice != "" {
			day, err := rating.ParseDate(notice)
			if err != nil {
				t.Fatal(err)
			}
			a.Notice = &Notice{On: day, By: "Jane"}
		}
		got := DefaultTerms().Judge(a, zone, at(now))
		if got.State != want || got.Needed != needed || !got.Deadline.Equal(at("2026-10-30 09:30")) {
			t.Errorf("%d of %d, notice %q, at %s: %+v, want %s and %d needed", used, addresses, notice, now, got, want, needed)
		}
	}
	f(16, 0, "", "2026-10-20 09:30", 13, InTime)
	f(16, 12, "", "2026-10-30 09:29", 13, InTime) // the clocks went back on the 25th: ten days, not 240 hours
	f(16, 12, "", "2026-10-30 09:30", 13, NoticeDue)
	f(16, 13, "", "2026-10-30 09:30", 13, Satisfied)
	f(16, 13, "", "2026-10-21 00:00", 13, Satisfied)
	f(16, 12, "2026-11-02", "2026-11-02 10:00", 13, NoticeGiven)
	f(16, 12, "2026-11-02", "2026-11-06 23:59", 13, NoticeGiven)
	f(16, 12, "2026-11-02", "2026-11-07 00:00", 13, Revocable)
	f(16, 13, "2026-11-02", "2026-11-09 00:00", 13, Satisfied) // in time to keep them
	f(1, 0, "", "2026-10-31 00:00", 1, NoticeDue)
	f(10, 8, "", "2026-10-31 00:00", 8, Satisfied)
	f(10, 7, "", "2026-10-31 00:00", 8, NoticeDue)
}

func TestPrefixesOfOneTimeAreJudgedTogether(t *testing.T) {
	a := Assignment{At: time.Unix(0, 0), Prefixes: []Prefix{{Addresses: 8, Used: 8}, {Addresses: 1}, {Addresses: 1, Used: 1}}}
	if got := DefaultTerms().Judge(a, time.UTC, time.Unix(1e9, 0)); got.State != Satisfied || got.Addresses != 10 || got.Used != 9 || got.Needed != 8 {
		t.Errorf("%+v", got)
	}
	reserved := DefaultTerms()
	reserved.Reserved = 3
	a.Prefixes = []Prefix{{Addresses: 8, Used: 4}, {Addresses: 2, Used: 2}} // 5 and 2 are asked for
	if got := reserved.Judge(a, time.UTC, time.Unix(1e9, 0)); got.State != Satisfied || got.Addresses != 7 || got.Needed != 6 {
		t.Errorf("%+v", got)
	}
	if terms := DefaultTerms(); terms.Beyond(8) != 0 || terms.Beyond(9) != 1 || terms.Beyond(0) != 0 {
		t.Error("eight are free")
	}
}

func TestTermsNameTheirKey(t *testing.T) {
	f := func(want string, change func(*Terms)) {
		t.Helper()
		terms := DefaultTerms()
		change(&terms)
		if err := terms.Validate(); want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want+":")) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f("", func(*Terms) {})
	f("free", func(t *Terms) { t.Free = -1 })
	f("used_percent", func(t *Terms) { t.UsedPercent = 101 })
	f("within_days", func(t *Terms) { t.WithinDays = -1 })
	f("notice_days", func(t *Terms) { t.NoticeDays = 4000 })
	f("reserved", func(t *Terms) { t.Reserved = 4 })
}

// TestTimeAndUseOnlyHelpAsTheyShould lets time pass and addresses be used: time never satisfies, use never makes a
// state worse, and nothing is revocable before a notice's days are over.
func TestTimeAndUseOnlyHelpAsTheyShould(t *testing.T) {
	zone := london(t)
	rank := map[State]int{Satisfied: 0, InTime: 1, NoticeDue: 2, NoticeGiven: 3, Revocable: 4}
	rapid.Check(t, func(t *rapid.T) {
		terms := Terms{UsedPercent: rapid.Int64Range(1, 100).Draw(t, "percent"), WithinDays: rapid.IntRange(0, 40).Draw(t, "within"), NoticeDays: rapid.IntRange(0, 40).Draw(t, "notice"), Reserved: rapid.Int64Range(0, 3).Draw(t, "reserved")}
		from := time.Date(2026, 10, 1, 0, 0, 0, 0, zone)
		minutes := func(name string) time.Duration {
			return time.Duration(rapid.IntRange(0, 90*24*60).Draw(t, name)) * time.Minute
		}
		a := Assignment{At: from.Add(minutes("assigned"))}
		for range rapid.IntRange(1, 4).Draw(t, "prefixes") {
			size := int64(1) << rapid.IntRange(0, 10).Draw(t, "size")
			a.Prefixes = append(a.Prefixes, Prefix{Addresses: size, Used: rapid.Int64Range(0, size).Draw(t, "used")})
		}
		if rapid.Bool().Draw(t, "with a notice") {
			a.Notice = &Notice{On: rating.DateOf(a.At.Add(minutes("noticed")))}
		}
		now := a.At.Add(minutes("now"))
		before := terms.Judge(a, zone, now)
		later := terms.Judge(a, zone, now.Add(minutes("later")))
		if rank[later.State] < rank[before.State] {
			t.Errorf("time alone made %+v of %+v", later, before)
		}
		if (before.State == Revocable) != (before.Used < before.Needed && !now.Before(before.Deadline) && a.Notice != nil && !now.Before(before.RevocableFrom)) {
			t.Errorf("revocable: %+v at %s", before, now)
		}
		if before.Needed*100 < before.Addresses*terms.UsedPercent || (before.Needed-1)*100 >= before.Addresses*terms.UsedPercent {
			t.Errorf("needed: %+v", before)
		}
		a.Prefixes[0].Used++
		if after := terms.Judge(a, zone, now); rank[after.State] > rank[before.State] {
			t.Errorf("use made %+v of %+v", after, before)
		}
	})
}
