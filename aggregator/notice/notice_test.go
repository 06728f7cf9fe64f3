package notice

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/internal/config"
	"hostmeter/internal/store"
)

func TestThresholdsAreToldOnceAndTheHighestOnly(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		l.use("s1", 4.999999, 0)
		l.look()
		l.want("")
		l.use("s1", 5, 0) // exactly a half
		l.look()
		l.look()
		l.want("threshold 50")
		l.restart()
		l.look()
		l.want("threshold 50")
		l.use("s1", 9.5, 0) // over 75 and 90 at once
		l.look()
		l.want("threshold 50, threshold 90")
		list, err := l.Notices.Notices(t.Context(), 1, 10)
		if err != nil || len(list) != 1 || len(list[0].Passed) != 1 || list[0].Passed[0] != 75 {
			t.Fatalf("%+v, %v: want 75 passed, and 50 told before", list, err)
		}
		l.use("s1", 8, 0) // an owner was told late: it went down, and up again
		l.look()
		l.use("s1", 9.5, 0)
		l.look()
		l.want("threshold 50, threshold 90")
		// The next period begins anew.
		l.clock.Set(time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC))
		l.use("s1", 6, 0)
		l.look()
		l.want("threshold 50, threshold 90, threshold 50")
	})
}

// TestARaisedQuotaIsToldOfAgain: of a quota that is raised in the period, thresholds are told that stand for more than what was
// told of the lower one.
func TestARaisedQuotaIsToldOfAgain(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		used := func(tb float64, quota string) {
			t.Helper()
			l.use("s1", tb, 0).Row.Quota = dec(quota)
			l.look()
			l.look()
		}
		used(9.1, "10")
		l.want("threshold 90")
		used(9.1, "11") // 82.7 %: 75 % of 11 TB are less than was told
		used(9.1, "20")
		l.want("threshold 90")
		used(10.0, "20")
		l.want("threshold 90, threshold 50 raised")
		used(19.0, "20")
		l.want("threshold 90, threshold 50 raised, threshold 90 raised")
		list, err := l.Notices.Notices(t.Context(), 2, 1)
		if err != nil || len(list) != 1 || !slices.Equal(list[0].Passed, []int{75}) {
			t.Fatalf("%+v, %v: want 75 passed, and 50 told before", list, err)
		}
		l.send()
		if text := l.post.got[2].Text; !strings.Contains(text, "The quota was raised in this period") {
			t.Errorf("the mail does not say that the quota was raised:\n%s", text)
		}
		used(20.1, "20")
		used(20.1, "10") // lowered: nothing of it is new
		l.want("threshold 90, threshold 50 raised, threshold 90 raised, threshold 100, decision_requested")
	})
}

// TestThresholdsOfTheFirstVersionsAreToldOnce: their notices do not say of which quota they were.
func TestThresholdsOfTheFirstVersionsAreToldOnce(t *testing.T) {
	l := oneLab(t)
	l.use("s1", 9.1, 0)
	l.look()
	err := l.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), `UPDATE notice SET mark = '90'`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	l.use("s1", 19, 0).Row.Quota = dec("20")
	l.look()
	l.want("threshold 90")
}

func TestSettingsResolve(t *testing.T) {
	l := oneLab(t)
	l.load(`{plans: [{name: dedicated-10, quota: 10 TB, direction: sum, period: calendar, notice_at: "80"}],
		services: [{id: s2, customer: c2, plan: dedicated-10, place: london, opened: 2026-01-12, notice_at: none, decide_within: none}]}`)
	l.use("s1", 9, 0)
	l.use("s2", 11, 0)
	l.look()
	l.want("threshold 80")
}

func TestForecastAsksBeforeItIsTooLate(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		l.use("s1", 4, 0.3) // 4 TB and 14.6 days of 0.3: 8.4 TB
		l.look()
		l.want("")
		l.use("s1", 4, 0) // would be more, but nothing is known
		l.look()
		l.want("")
		l.use("s1", 4, 0.5) // 11.3 TB
		l.look()
		l.look()
		l.want("decision_requested")
		r := l.asked()
		if r.Exceeded() || r.Forecast.Probability < 0.99 || !r.Deadline.Equal(start.Add(48*time.Hour)) || !r.Forecast.ExpectedAmount.Equal(dec("120")) {
			t.Fatalf("%+v %+v", r, r.Forecast)
		}
		forecasts, err := l.Forecasts(t.Context())
		if f := forecasts[PeriodKey{"s1", r.PeriodFrom.UnixNano()}]; err != nil || !f.Expected.Equal(r.Forecast.Expected) || f.Days != 28 {
			t.Fatalf("%+v, %v", forecasts, err)
		}
		l.use("s1", 4, 0) // its history is gone, and the forecast with it
		l.clock.Advance(time.Minute)
		l.look()
		if forecasts, err = l.Forecasts(t.Context()); err != nil || len(forecasts) != 0 {
			t.Fatalf("%+v, %v", forecasts, err)
		}
	})
}

func TestWithoutADecisionTheForecastIsTold(t *testing.T) {
	l := oneLab(t)
	l.load(`services: [{id: s1, customer: c1, plan: dedicated-10, place: london, opened: 2026-01-12, decide_within: none, notice_at: none}]`)
	l.use("s1", 4, 0.5)
	l.look()
	l.use("s1", 10.5, 0.5) // certain: there is no forecast to tell
	l.look()
	l.want("forecast")
}

func TestGraceIsNotExceededByTheQuota(t *testing.T) {
	l := oneLab(t)
	l.load(`services: [{id: s1, customer: c1, plan: dedicated-10, place: london, opened: 2026-01-12, grace: 10 % allowance, notice_at: none}]`)
	l.use("s1", 10.9, 0)
	l.look()
	l.want("")
	l.use("s1", 11.000001, 0)
	l.look()
	l.want("decision_requested")
}

func TestNobodyIsAskedWhenNothingIsLeftToChoose(t *testing.T) {
	l := oneLab(t)
	l.clock.Set(time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC))
	l.use("s1", 11, 0)
	l.look()
	ends := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	if r := l.asked(); !r.Deadline.Equal(ends) { // 36 hours, not 48
		t.Fatalf("deadline %s, want the period's end", r.Deadline)
	}
	c := l.use("s2", 11, 0)
	l.clock.Set(ends.Add(-30 * time.Minute))
	l.look()
	l.clock.Set(ends.Add(time.Hour)) // the period is over: only thresholds are told
	c.Row.Used = dec("20")
	l.look()
	l.want("threshold 100, decision_requested, threshold 100")
}

func TestSpike(t *testing.T) {
	l := oneLab(t)
	c := l.use("s1", 1, 0.288) // 1 GB a slot on average
	peak := func(slots int, octets uint64) {
		day := ledger.DaySlots{Day: start.Truncate(24 * time.Hour)}
		for i := range slots {
			day.Out[50+i] = octets
		}
		c.Recent = []ledger.DaySlots{day}
	}
	peak(12, 4e9) // an hour, not more
	l.look()
	peak(100, 2.9e9) // not so high
	l.look()
	l.want("")
	peak(13, 4e9)
	l.look()
	l.look()
	l.want("spike")
	list, _ := l.Notices.Notices(t.Context(), 0, 10)
	if s := list[0].Spike; s.Minutes != 65 || s.Day != "2026-11-16" || s.PeakBitsPerSecond != 106666666 {
		t.Fatalf("%+v", s)
	}
}

// TestKilledAnywhere kills the process at each step of a mail: what was told is told once, and the mail is there, or
// is repeated once and says so.
func TestKilledAnywhere(t *testing.T) {
	f := func(point string, wantMails int) {
		t.Helper()
		l := oneLab(t)
		l.use("s1", 5, 0)
		l.look()
		l.step = func(at string) {
			if at == point {
				panic("killed")
			}
		}
		func() {
			defer func() { _ = recover() }()
			_ = l.SendDue(context.Background())
			t.Errorf("%s: was not reached", point)
		}()
		for range 10 { // another process, for hours
			l.restart()
			l.look()
			l.send()
			l.clock.Advance(11 * time.Minute)
		}
		if l.want("threshold 50"); len(l.post.got) != wantMails {
			t.Fatalf("%s: %d mails, want %d", point, len(l.post.got), wantMails)
		}
		last := l.post.got[len(l.post.got)-1]
		if !strings.HasPrefix(last.Subject, "[Possible repeat] ") || !strings.HasPrefix(last.Text, "You may have received this message before") {
			t.Errorf("%s: the mail that may be a repeat does not say so: %s", point, last.Subject)
		}
		if last.ID != l.post.got[0].ID {
			t.Errorf("%s: a repeat has another id", point)
		}
	}
	f("before send", 1)
	f("after send", 2)
}

// TestAProcessThatIsHeldUpSendsNoMail: one that is stopped in an attempt, and wakes up when another has taken the mail
// over, sends nothing.
func TestAProcessThatIsHeldUpSendsNoMail(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		l.use("s1", 5, 0)
		l.look()
		paused := l.Notices
		paused.step = func(at string) {
			if at != "before send" {
				return
			}
			for range 3 { // another process, meanwhile
				l.clock.Advance(11 * time.Minute)
				l.restart()
				l.send()
			}
		}
		if err := paused.SendDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.send()
		mails, err := l.mails()
		if m := mails[1]; err != nil || m.State != MailSent || !m.Repeated || len(l.post.got) != 1 {
			t.Errorf("%+v, %d mails, %v; want one, as a possible repeat", m, len(l.post.got), err)
		}
	})
}

// TestMailOutcomes: what was not handed over is tried for days, what was refused is not, and what nobody knows of is
// repeated once.
func TestMailOutcomes(t *testing.T) {
	f := func(answers []error, want MailState, wantMails int, wantRepeated bool) {
		t.Helper()
		l := oneLab(t)
		l.post.answers = answers
		l.use("s1", 5, 0)
		l.look()
		for range 100 {
			l.send()
			l.clock.Advance(time.Hour)
		}
		mails, err := l.mails()
		if m := mails[1]; err != nil || m.State != want || len(l.post.got) != wantMails || m.Repeated != wantRepeated {
			t.Errorf("%v: %+v, %d mails, %v; want %s, %d", answers, m, len(l.post.got), err, want, wantMails)
		}
	}
	down := make([]error, 200)
	for i := range down {
		down[i] = errUntouched
	}
	f(nil, MailSent, 1, false)
	f([]error{errUntouched, errUntouched}, MailSent, 1, false)
	f(down, MailFailed, 0, false)
	f([]error{errRefused}, MailRefused, 0, false)
	f([]error{errLost}, MailSent, 2, true)
	f([]error{errLost, errUntouched, errUntouched}, MailSent, 2, true)
	f([]error{errLost, errLost}, MailUnsure, 2, true)
}

func TestNoAddressAndNoServer(t *testing.T) {
	l := oneLab(t)
	l.use("s2", 5, 0) // Bob has no address
	l.look()
	l.send()
	l.post.off = true
	l.use("s1", 5, 0)
	l.look()
	l.post.off = false // what was told without a mail server is not sent later
	for range 5 {
		l.send()
		l.clock.Advance(time.Hour)
	}
	mails, err := l.mails()
	if err != nil || mails[1].State != MailSkipped || mails[2].State != MailSkipped || len(l.post.got) != 0 || !strings.Contains(mails[1].Error, "c2 has no e-mail address") {
		t.Fatalf("%+v, %v", mails, err)
	}
}

// TestNoAddressIsKept: what a mail server says of an address is kept without it.
func TestNoAddressIsKept(t *testing.T) {
	l := oneLab(t)
	l.post.answers = []error{fmt.Errorf("%w: 550 <ada@example.org>: no such person, affected recipient(s): ada@example.org", errRefused)}
	l.use("s1", 5, 0)
	l.look()
	l.send()
	mails, err := l.mails()
	if m := mails[1]; err != nil || m.State != MailRefused || strings.Contains(m.Error, "ada@") || !strings.Contains(m.Error, "550") {
		t.Fatalf("%+v, %v", m, err)
	}
}

func TestTheChainShowsAChange(t *testing.T) {
	l := oneLab(t)
	l.use("s1", 5, 0)
	l.look()
	l.use("s1", 8, 0)
	l.look()
	err := l.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), `UPDATE notice SET body = replace(body, '"threshold":50', '"threshold":51') WHERE number = 1`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Verify(t.Context()); !errors.Is(err, ErrChain) {
		t.Fatalf("%v", err)
	}
}

func TestConfigurationNamesTheKey(t *testing.T) {
	f := func(c Config, want string) {
		t.Helper()
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s…", err, want)
		}
	}
	f(Config{}, "every:")
	f(Config{Every: 1, LinkTo: "https://x"}, "link_key:")
	f(Config{Every: 1, LinkTo: "billing.example.net", LinkKey: config.NewSecret("0123456789abcdef")}, "link_to:")
	f(Config{Every: 1, LinkTo: "https://x", LinkKey: config.NewSecret("short")}, "link_key:")
}
