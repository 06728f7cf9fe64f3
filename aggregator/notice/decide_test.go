package notice

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/config"
	"hostmeter/internal/mail"
)

var (
	errUntouched = mail.ErrUntouched
	errRefused   = mail.ErrRefused
)

// askedLab has one request, and its mail was sent.
func askedLab(t *testing.T, l *lab) Request {
	t.Helper()
	l.load(`services: [{id: s1, customer: c1, plan: dedicated-10, place: london, opened: 2026-01-12, notice_at: none}]`)
	l.use("s1", 4, 0.5)
	l.look()
	l.send()
	return l.asked()
}

// rules of the period's charge, as the statement prints them.
func (l *lab) rules() string {
	l.t.Helper()
	snapshot, err := l.inv.Snapshot(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	contract, err := snapshot.Contract("s1", start)
	if err != nil {
		l.t.Fatal(err)
	}
	p := contract.Schedule.PeriodAt(start)
	charge, err := rating.Rate(contract, p, rating.Usage{InOctets: 10_000_000_000_001}, snapshot.Prices())
	if err != nil || charge.Kind != rating.KindOverage || !charge.AmountExVAT.Equal(dec("60")) {
		l.t.Fatalf("%+v, %v: a choice changes no charge", charge, err)
	}
	var texts []string
	for _, rule := range charge.Rules {
		if rule.Level == rating.FromDecision {
			texts = append(texts, rule.String())
		}
	}
	return strings.Join(texts, "; ")
}

func TestAChoiceByTheLink(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		r := askedLab(t, l)
		token := l.link()
		for range 3 { // scanners of mail open links
			if seen, err := l.Linked(t.Context(), token); err != nil || !seen.IsOpen(l.clock.Now()) || seen.Number != r.Number {
				t.Fatalf("%+v, %v", seen, err)
			}
		}
		l.clock.Advance(time.Hour)
		if _, err := l.ChooseByLink(t.Context(), token, "everything"); !errors.Is(err, rating.ErrChoice) {
			t.Fatal(err)
		}
		done, err := l.ChooseByLink(t.Context(), token, "throttle")
		if err != nil || done.Outcome.Choice != "throttle" || done.Outcome.By != "customer c1" {
			t.Fatalf("%+v, %v", done, err)
		}
		l.want("decision_requested, decision_made")
		for _, choice := range []string{"upgrade", "throttle"} {
			if again, err := l.ChooseByLink(t.Context(), token, choice); !errors.Is(err, ErrDecided) || again.Outcome.Choice != "throttle" {
				t.Fatalf("%+v, %v", again, err)
			}
		}
		if rules := l.rules(); rules != "throttle=choice-1 at 2026-11-16T10:30:00Z, by customer c1: by the link in the mail of notice 1 (decision)" {
			t.Fatalf("the statement says %q", rules)
		}
		l.send()
		if last := l.post.got[len(l.post.got)-1]; !strings.Contains(last.Text, "throttle: limit the speed") {
			t.Fatalf("%s", last.Text)
		}
		l.look() // it was chosen: nobody is asked again
		l.clock.Advance(72 * time.Hour)
		l.settle()
		l.want("decision_requested, decision_made")
	})
}

// TestNoNameStandsOnAStatement: an operator's note that names the customer is written with the identifier, and a customer
// whose name is one of our words can choose.
func TestNoNameStandsOnAStatement(t *testing.T) {
	l := oneLab(t)
	r := askedLab(t, l)
	if _, err := l.Choose(t.Context(), r.Number, "upgrade", "user:jane", "by the API: Ada Ltd telephoned"); err != nil {
		t.Fatal(err)
	}
	if rules := l.rules(); !strings.Contains(rules, "by the API: c1 telephoned") {
		t.Fatalf("the statement says %q", rules)
	}
	l = oneLab(t)
	l.load(`customers: [{id: c1, name: Customer, email: ada@example.org}]`)
	askedLab(t, l)
	if _, err := l.ChooseByLink(t.Context(), l.link(), "nothing"); err != nil {
		t.Fatal(err)
	}
}

func TestSilenceIsCharged(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		r := askedLab(t, l)
		token := l.link()
		l.clock.Set(r.Deadline.Add(-time.Second))
		l.settle()
		l.want("decision_requested")
		l.clock.Set(r.Deadline)
		if late, err := l.ChooseByLink(t.Context(), token, "throttle"); !errors.Is(err, ErrDeadline) || late.Number != r.Number {
			t.Fatalf("at the deadline: %+v, %v", late, err)
		}
		l.settle()
		l.settle()
		l.want("decision_requested, decision_made")
		if late, err := l.Choose(t.Context(), r.Number, "throttle", "token:whmcs", "by the API"); !errors.Is(err, ErrDecided) || late.Outcome.Choice != "nothing" {
			t.Fatalf("%+v, %v", late, err)
		}
		if rules := l.rules(); rules != "nothing=choice-1 at 2026-11-18T09:30:00Z, by nobody: no answer by 2026-11-18T09:30:00Z; asked at 2026-11-16T09:30:00Z, "+
			"by mail that the mail server took at 2026-11-16T09:30:00Z (decision)" {
			t.Fatalf("the statement says %q", rules)
		}
	})
}

// TestSilenceToTheEndOfAPeriod lies in the period, so that its statement prints it.
func TestSilenceToTheEndOfAPeriod(t *testing.T) {
	l := oneLab(t)
	l.clock.Set(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC))
	l.post.off = true
	l.use("s1", 11, 0)
	l.look()
	l.clock.Set(time.Date(2026, 12, 3, 0, 0, 0, 0, time.UTC)) // nobody was there at the deadline
	l.settle()
	if rules := l.rules(); !strings.Contains(rules, "nothing=choice-2 at 2026-11-30T23:59:59Z, by nobody") || !strings.Contains(rules, "and no mail was sent") {
		t.Fatalf("the statement says %q", rules)
	}
}

func TestKilledBetweenTheChoiceAndTelling(t *testing.T) {
	l := oneLab(t)
	r := askedLab(t, l)
	l.step = func(at string) {
		if at == "chosen" {
			panic("killed")
		}
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = l.Choose(context.Background(), r.Number, "upgrade", "token:whmcs", "by the API")
	}()
	l.want("decision_requested")
	l.restart()
	l.settle()
	l.want("decision_requested, decision_made")
}

// TestOneOfManyChoices: everybody chooses at once, by several processes, and one choice is made.
func TestOneOfManyChoices(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		r := askedLab(t, l)
		var won sync.Map
		var group sync.WaitGroup
		for i := range 12 {
			other, err := New(l.cfg, Deps{DB: l.db, Ledger: l.books, Inventory: l.inv, Mail: l.post, Clock: l.clock})
			if err != nil {
				t.Fatal(err)
			}
			group.Go(func() {
				choice := rating.Choices[i%len(rating.Choices)]
				if _, err := other.Choose(context.Background(), r.Number, string(choice), "user:ada", "by the API"); err == nil {
					won.Store(choice, true)
				} else if !errors.Is(err, ErrDecided) {
					t.Error(err)
				}
			})
		}
		group.Wait()
		l.settle()
		l.want("decision_requested, decision_made")
		n := 0
		won.Range(func(choice, _ any) bool {
			n++
			if done := l.asked(); done.Outcome.Choice != choice {
				t.Errorf("%v was said to be chosen, and %s is", choice, done.Outcome.Choice)
			}
			return true
		})
		if n != 1 {
			t.Fatalf("%d different choices were made", n)
		}
	})
}

func TestAnOperatorsDecisionIsTheOutcome(t *testing.T) {
	l := oneLab(t)
	r := askedLab(t, l)
	l.load(`decisions: [{id: d1, service: s1, decision: upgrade, from: 2026-11-16T12:00:00Z, by: Jane Roe, reason: by telephone}]`)
	l.settle()
	l.want("decision_requested, decision_made")
	if _, err := l.Choose(t.Context(), r.Number, "nothing", "x", "y"); !errors.Is(err, ErrDecided) {
		t.Fatal(err)
	}
	// Who has chosen unasked is not asked.
	l.load(`decisions: [{id: d2, service: s2, decision: nothing, from: 2026-11-16T12:00:00Z, by: Jane Roe, reason: by telephone}]`)
	other := l.use("s2", 11, 0)
	if due := dueOf(*other, nil, l.clock.Now()); len(due) != 1 || due[0].Kind != KindThreshold {
		t.Fatalf("%+v", due)
	}
}

func TestTheMailOfARequestThatIsDecidedIsNotSent(t *testing.T) {
	l := oneLab(t)
	l.post.answers = []error{errUntouched}
	r := askedLab(t, l)
	if _, err := l.Choose(t.Context(), r.Number, "nothing", "user:ada", "by the API"); err != nil {
		t.Fatal(err)
	}
	l.clock.Advance(time.Hour)
	l.send()
	mails, err := l.mails()
	if err != nil || mails[1].State != MailExpired || len(l.post.got) != 1 || !strings.Contains(l.post.got[0].Subject, "your choice") {
		t.Fatalf("%+v, %v", mails, err)
	}
}

// TestLinksCannotBeMade: any change of a token, and another key, is refused, and changes nothing.
func TestLinksCannotBeMade(t *testing.T) {
	l := oneLab(t)
	askedLab(t, l)
	token := l.link()
	octets, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(t interface{ Fatalf(string, ...any) }, token string) {
		if _, err := l.ChooseByLink(context.Background(), token, "disconnect"); !errors.Is(err, ErrLink) {
			t.Fatalf("%q: %v", token, err)
		}
	}
	for i := range octets {
		for bit := range 8 {
			changed := append([]byte(nil), octets...)
			changed[i] ^= 1 << bit
			refused(t, base64.RawURLEncoding.EncodeToString(changed))
		}
		refused(t, base64.RawURLEncoding.EncodeToString(octets[:i]))
	}
	refused(t, token+"A")
	refused(t, token+"\n")
	refused(t, "")
	refused(t, l.cfg.token(99, start.Add(time.Hour)))              // signed, and of no request
	refused(t, l.cfg.token(1, start.Add(48*time.Hour+1000000000))) // with another deadline
	rapid.Check(t, func(t *rapid.T) { refused(t, rapid.String().Draw(t, "token")) })
	l.cfg.LinkKey = config.NewSecret("fedcba9876543210")
	l.restart()
	refused(t, token)
	l.want("decision_requested")
}

// TestMailTexts are golden: read them.
func TestMailTexts(t *testing.T) {
	l := oneLab(t)
	show := func(name string) {
		t.Helper()
		last := l.post.got[len(l.post.got)-1]
		text := strings.ReplaceAll(last.Text, "\u00a0", " ")
		if i := strings.Index(text, "?t="); i >= 0 {
			end := i + strings.Index(text[i:], "\n")
			text = text[:i] + "?t=TOKEN" + text[end:]
		}
		golden(t, name, "To: "+last.To+"\nSubject: "+strings.ReplaceAll(last.Subject, "\u00a0", " ")+"\n\n"+text)
	}
	l.use("s1", 9.1234, 0)
	l.look()
	l.send()
	show("threshold.txt")
	l.use("s1", 9.2, 0.1)
	l.look()
	l.send()
	show("request-forecast.txt")
	r := l.asked()
	if _, err := l.Choose(t.Context(), r.Number, "upgrade", "customer c1", "by the link"); err != nil {
		t.Fatal(err)
	}
	l.send()
	show("decision.txt")

	l = oneLab(t)
	l.load(`services: [{id: s1, customer: c1, plan: dedicated-10, place: london, opened: 2026-01-12, notice_at: none, grace: 5 % threshold}]`)
	l.use("s1", 12.3, 0.5)
	l.look()
	l.send()
	show("request-exceeded.txt")
	l.clock.Advance(48 * time.Hour)
	l.settle()
	l.send()
	show("silence.txt")

	l = oneLab(t)
	l.load(`services: [{id: s1, customer: c1, plan: dedicated-10, place: london, opened: 2026-01-12, notice_at: none, decide_within: none}]`)
	l.use("s1", 4, 0.5)
	l.post.answers = []error{errLost}
	l.look()
	l.send()
	l.clock.Advance(time.Hour)
	l.send()
	show("forecast-repeat.txt")
}
