package notice

import (
	"context"
	"embed"
	"fmt"
	"math"
	"strings"
	"text/template"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/mail"
)

//go:embed templates/*.txt
var texts embed.FS

var templates = template.Must(template.New("").ParseFS(texts, "templates/*.txt"))

// letter is what a mail's text is made from.
type letter struct {
	Notice
	Name, Provider string
	Link           string // empty without one
	Repeat         bool
	Now            time.Time
}

// message writes the mail of a notice to the customer as it is known now. Where state is set nothing is sent, and the text says
// why.
func (n *Notices) message(ctx context.Context, notice Notice, repeat bool) (m mail.Message, state MailState, err error) {
	snapshot, err := n.deps.Inventory.Snapshot(ctx)
	if err != nil {
		return m, "", err
	}
	now := n.deps.Clock.Now()
	customer, known := snapshot.CustomerByID(notice.Customer)
	switch {
	case !known || customer.Email == "":
		return mail.Message{Text: "customer " + notice.Customer + " has no e-mail address"}, MailSkipped, nil
	case notice.Kind == KindRequest && (!now.Before(notice.Deadline) || outcomeOf(snapshot, notice).Choice != ""):
		return mail.Message{Text: "it was decided, or the deadline was over, before a mail server took it"}, MailExpired, nil
	}
	l := letter{Notice: notice, Name: customer.Name, Provider: snapshot.Provider.Name, Repeat: repeat, Now: now}
	if notice.Kind == KindRequest && n.cfg.links() {
		l.Link = n.cfg.page(n.cfg.token(notice.Number, notice.Deadline))
	}
	subject, text, err := l.write()
	if err != nil {
		return m, "", fmt.Errorf("write notice %d: %w", notice.Number, err)
	}
	return mail.Message{
		ID: fmt.Sprintf("hostmeter-notice-%d.%.16s", notice.Number, notice.Hash), To: customer.Email, Subject: subject, Text: text, At: now,
		Headers: map[string]string{"Auto-Submitted": "auto-generated"}, // RFC 3834: nobody's absence is told to us
	}, "", nil
}

// write returns the subject, which is the first line of the template, and the text.
func (l letter) write() (subject, text string, err error) {
	var b strings.Builder
	if err := templates.ExecuteTemplate(&b, string(l.Kind)+".txt", l); err != nil {
		return "", "", err
	}
	subject, text, _ = strings.Cut(b.String(), "\n")
	if l.Repeat {
		subject = "[Possible repeat] " + subject
		text = "\nYou may have received this message before: we do not know whether it arrived.\n" + text
	}
	return subject, strings.TrimLeft(text, "\n"), nil
}

// zone is the contract's, of the times in a letter.
func (l letter) zone() *time.Location { return l.PeriodFrom.Location() }

func (l letter) time(at time.Time) string {
	return at.In(l.zone()).Format("Monday 2 January 2006, 15:04") + " (" + l.TimeZone + ")"
}

// The methods that templates use.

// Title names what it is about in a subject line.
func (l letter) Title() string {
	switch l.Subject {
	case SubjectPool:
		return "Pool " + l.Service
	case SubjectReseller:
		return "Your customers' traffic"
	}
	return l.Service
}

// What names what it is about.
func (l letter) What() string {
	what := "your service " + l.Service
	switch l.Subject {
	case SubjectReseller:
		return "all services of yours and of your customers together"
	case SubjectPool:
		what = fmt.Sprintf("your pool %s of %d services", l.Service, l.Members)
		if l.Members == 1 {
			what = "your pool " + l.Service + " of one service"
		}
	}
	if l.Plan != "" {
		what += " (" + l.Plan + ")"
	}
	return what
}

// Subjects are what a choice does something to.
func (l letter) Subjects() string {
	if l.OfPool() {
		return "the services"
	}
	return "the service"
}

// OfPool and OfReseller tell the subjects apart.
func (l letter) OfPool() bool { return l.Subject == SubjectPool }

// OfReseller says that it is about a reseller's sum.
func (l letter) OfReseller() bool { return l.Subject == SubjectReseller }

// Limit is what may be used, as its contract calls it; LimitShort the same, said again.
func (l letter) Limit() string {
	switch {
	case l.OfReseller():
		return "rate that you have bought"
	case l.Burst != nil:
		return "included rate"
	}
	return "transfer quota"
}

// LimitShort is the limit where it was named before.
func (l letter) LimitShort() string {
	if l.Burst != nil {
		return "rate"
	}
	return "quota"
}

// Percentile begins a sentence about one.
func (l letter) Percentile() string { return "the 95th percentile until now" }

// Period names the first and last day of the period.
func (l letter) Period() string { return statement.SpanWords(l.PeriodFrom, l.PeriodTo) }

// Until is the deadline.
func (l letter) Until() string { return l.time(l.Deadline) }

// Decided is when it was chosen.
func (l letter) Decided() string { return l.time(l.DecidedAt) }

// Counts says what counts.
func (l letter) Counts() string { return statement.DirectionWords(l.Direction) }

// UsedText is what is used, with the unit.
func (l letter) UsedText() string { return l.figure(l.Used) }

// QuotaText is the quota, with the unit.
func (l letter) QuotaText() string { return l.figure(l.Quota) }

// GraceText is the grace; empty where there is none.
func (l letter) GraceText() string {
	if !l.Grace.IsPositive() {
		return ""
	}
	return l.figure(l.Grace)
}

func (l letter) figure(d decimal.Decimal) string {
	return statement.QuantityWords(d) + "\u00a0" + string(l.Unit)
}

// UnitText says what the unit is worth.
func (l letter) UnitText() string { return statement.UnitWords(l.Unit) }

// ShareText is used of quota, in per cent, rounded down to a tenth.
func (l letter) ShareText() string {
	if !l.Quota.IsPositive() {
		return ""
	}
	return l.Used.Shift(2).DivRound(l.Quota, 6).Truncate(1).String() + "\u00a0%"
}

// CostText is what is charged for what is used so far.
func (l letter) CostText() string { return statement.MoneyWords(l.AmountExVAT, l.Currency) }

// ExpectedText, IntervalText, ProbabilityText and ExpectedCostText tell the forecast.
func (l letter) ExpectedText() string { return l.figure(l.Forecast.Expected.Round(3)) }

// IntervalText is the interval of 90 %.
func (l letter) IntervalText() string {
	return l.figure(l.Forecast.Low.Round(3)) + " to " + l.figure(l.Forecast.High.Round(3))
}

// ProbabilityText is that of exceeding.
func (l letter) ProbabilityText() string { return probabilityText(l.Forecast.Probability) }

// probabilityText is a probability in whole per cent: neither end is said of what is not certain.
func probabilityText(p float64) string {
	switch percent := math.Round(100 * p); {
	case percent >= 100:
		return "more than 99\u00a0%"
	case percent < 1:
		return "less than 1\u00a0%"
	default:
		return fmt.Sprintf("%.0f\u00a0%%", percent)
	}
}

// ExpectedCostText is the expected cost; empty where it cannot be rated.
func (l letter) ExpectedCostText() string {
	if l.Forecast.ExpectedAmount == nil {
		return ""
	}
	return statement.MoneyWords(*l.Forecast.ExpectedAmount, l.Currency)
}

// PassedText lists the lower thresholds that are not told apart.
func (l letter) PassedText() string {
	list := make([]string, len(l.Passed))
	for i, threshold := range l.Passed {
		list[i] = fmt.Sprintf("%d\u00a0%%", threshold)
	}
	if last := len(list) - 1; last > 0 {
		return strings.Join(list[:last], ", ") + " and " + list[last]
	}
	return strings.Join(list, "")
}

// Rates of a spike.
func (l letter) AverageText() string { return bitsText(l.Spike.AverageBitsPerSecond) }

// PeakText is the greatest rate of five minutes.
func (l letter) PeakText() string { return bitsText(l.Spike.PeakBitsPerSecond) }

func bitsText(bits int64) string {
	return statement.QuantityWords(decimal.NewFromInt(bits).Shift(-6).Round(3)) + "\u00a0Mbit/s"
}

// ChoiceText says what was chosen.
func (l letter) ChoiceText() string { return choiceTexts[l.Choice] }

var choiceTexts = map[rating.DecisionKind]string{
	rating.DecideUpgrade:    "upgrade to a larger plan",
	rating.DecideThrottle:   "limit the speed until the end of the period",
	rating.DecideDisconnect: "disconnect until the end of the period",
	rating.DecideNothing:    "change nothing: what goes beyond the quota is charged",
}

// Silent says that nobody has answered.
func (l letter) Silent() bool { return l.By == "nobody" }
