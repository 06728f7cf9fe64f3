package statement

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/reconcile"
)

// ErrEmpty is returned for a customer without a row: there is nothing to send.
var ErrEmpty = errors.New("no period of the customer ends in the month")

// WritePDF writes what a customer is sent: the charges of the month, and of each service and period how
// it used its quota, how that was measured and how it was charged. report has the rows of this customer
// alone, name is the customer's, evidence is gone through once.
//
// Texts may be in any script that is written with single letters; a character without a glyph is shown
// as □. The same input gives the same file. Errors: ErrEmpty, evidence's and w's.
func WritePDF(w io.Writer, report Report, name string, evidence Evidences) error {
	if len(report.Rows) == 0 {
		return ErrEmpty
	}
	l := letter{report: report, name: name}
	if name == "" {
		l.name = report.Rows[0].Customer
	}
	var err error
	if l.document, err = newDocument("Usage statement, "+report.title()+", "+l.name, report.Provider, report.end()); err != nil {
		return err
	}
	l.newPage = l.furtherHead
	l.head()
	l.tiles()
	l.charges()
	l.glance()
	for e, err := range evidence {
		if err != nil {
			return err
		}
		l.service(e)
	}
	l.feet()
	if err := l.output(w); err != nil {
		return fmt.Errorf("write statement of customer %s: %w", report.Rows[0].Customer, err)
	}
	return nil
}

// letter is one customer's document.
type letter struct {
	*document
	report Report
	name   string
}

const right = pageWidth - pageMargin

func (l *letter) head() {
	l.fill(0, 0, pageWidth, 2.4, accent)
	l.style(12, true, ink)
	l.text(pageMargin, 18, l.fit(l.report.Provider, 120))
	l.style(9, false, dim)
	l.right(right, 18, "Usage statement")
	l.line(pageMargin, 22, right, 22, 0.2, rule)
	l.style(22, true, ink)
	l.text(pageMargin, 36, l.report.title())
	room := textWidth
	if l.report.Provisional {
		room = 115
	}
	l.style(13, false, ink)
	l.text(pageMargin, 44, l.fit(l.name, room))
	l.style(9, false, dim)
	l.text(pageMargin, 49.5, l.fit("Customer "+l.report.Rows[0].Customer, room))
	if l.report.Provisional {
		l.style(9, true, near)
		text := "Provisional"
		width := l.width(text) + 6
		l.fill(right-width, 30.5, width, 6.5, nearSoft)
		l.text(right-width+3, 35, text)
		l.style(8, false, dim)
		l.right(right, 42, "A period is still open: its usage grows,")
		l.right(right, 45.6, "and its amount may change.")
	}
	l.y = 56
}

func (l *letter) furtherHead() {
	l.fill(0, 0, pageWidth, 2.4, accent)
	l.style(9, true, ink)
	l.text(pageMargin, 14, l.fit(l.report.Provider, 80))
	l.style(9, false, dim)
	l.right(right, 14, l.fit(l.name+" · "+l.report.title(), 90))
	l.line(pageMargin, 17, right, 17, 0.2, rule)
	l.y = 25
}

// tiles show what a reader looks for first.
func (l *letter) tiles() {
	type tile struct{ name, value, note string }
	services := map[string]bool{}
	over, lowest, known := map[string]bool{}, 1.0, false
	for _, row := range l.report.Rows {
		services[row.Service] = true
		if row.Kind == rating.KindOverage {
			over[row.Service] = true
		}
		if row.Coverage >= 0 {
			known, lowest = true, min(lowest, row.Coverage)
		}
	}
	var amounts []string
	for _, total := range Totals(l.report.Rows) {
		amounts = append(amounts, moneyWords(total.AmountExVAT, total.Currency))
	}
	tiles := []tile{
		{"Overage, excluding VAT", strings.Join(amounts, " + "), map[bool]string{true: "so far", false: "for the periods below"}[l.report.Provisional]},
		{"Over the quota", plural(int64(len(over)), "service", "services"), "of " + plural(int64(len(services)), "service", "services")},
		{"Coverage", "not known", "the lowest of the services"},
	}
	if known {
		tiles[2].value = shareWords(lowest)
	}
	width := (textWidth - 8) / 3
	for i, t := range tiles {
		x := pageMargin + float64(i)*(width+4)
		l.fill(x, l.y, width, 23, paperShade)
		l.fill(x, l.y, 0.9, 23, accent)
		l.style(8, false, dim)
		l.text(x+5, l.y+6.5, t.name)
		size := 15.0
		for l.style(size, true, ink); l.width(t.value) > width-8 && size > 7; size-- {
			l.style(size-1, true, ink)
		}
		l.text(x+5, l.y+14.2, l.fit(t.value, width-8))
		l.style(8, false, dim)
		l.text(x+5, l.y+19.5, t.note)
	}
	l.y += 33
}

// chargeColumns are the columns of the table of charges: where they begin or, where right is set, end.
var chargeColumns = []struct {
	name  string
	x     float64
	right bool
}{
	{"Service", pageMargin, false}, {"Period", pageMargin + 38, false}, {"Used", pageMargin + 99, true}, {"Quota", pageMargin + 117, true},
	{"Over", pageMargin + 131, true}, {"Billed", pageMargin + 147, true}, {"Amount ex VAT", right, true},
}

func (l *letter) chargeHead() {
	l.style(8, true, dim)
	for _, c := range chargeColumns {
		if c.right {
			l.right(c.x, l.y, c.name)
		} else {
			l.text(c.x, l.y, c.name)
		}
	}
	l.line(pageMargin, l.y+2, right, l.y+2, 0.3, ink)
	l.y += 7
}

// charges is the table of the month.
func (l *letter) charges() {
	l.style(12, true, ink)
	l.text(pageMargin, l.y, "Charges")
	l.y += 7.5
	l.chargeHead()
	before := l.newPage
	l.newPage = func() { before(); l.chargeHead() }
	for _, row := range l.report.Rows {
		l.need(12)
		l.charge(row)
	}
	l.newPage = before
	l.need(7 * float64(1+len(l.report.Totals)))
	for i, total := range Totals(l.report.Rows) {
		l.style(9.5, true, ink)
		if i == 0 {
			l.text(pageMargin, l.y+1, "Total")
		}
		l.right(right, l.y+1, moneyWords(total.AmountExVAT, total.Currency))
		l.y += 6
	}
	l.y += 8
}

// glance draws how much of its quota each service used, as many as there is room for on the page.
func (l *letter) glance() {
	type use struct{ used, quota decimal.Decimal }
	uses := map[string]use{}
	var names []string
	var first []Row
	for _, row := range l.report.Rows {
		name := row.Service + row.PeriodFrom.String()
		if _, known := uses[name]; !known {
			names, first = append(names, name), append(first, row)
		}
		uses[name] = use{uses[name].used.Add(row.Used), row.Quota}
	}
	if l.y+14+7*float64(min(len(names), 3)) > pageBottom {
		return
	}
	l.style(12, true, ink)
	l.text(pageMargin, l.y, "Used of the quota")
	l.y += 8
	const left, width = pageMargin + 38, 92.0
	for i, name := range names {
		if l.y+7 > pageBottom {
			l.style(8, false, dim)
			l.text(pageMargin, l.y, "and "+plural(int64(len(names)-i), "more service", "more services")+" on the pages that follow")
			break
		}
		row, u := first[i], uses[name]
		l.style(8.5, false, ink)
		l.text(pageMargin, l.y, l.fit(row.Service, 36))
		unit := "\u00a0" + string(row.Unit)
		if row.Unlimited || !u.quota.IsPositive() {
			l.style(8.5, false, dim)
			l.text(left, l.y, quantityWords(u.used)+unit+", unmetered")
			l.y += 7
			continue
		}
		share := u.used.InexactFloat64() / u.quota.InexactFloat64()
		full := max(1, min(share, 1.5)) // what is far above the quota fills the bar
		mark := left + width/full
		l.fill(left, l.y-2.9, width, 3.6, rule)
		l.fill(left, l.y-2.9, width*min(max(share, 0), full)/full, 3.6, accent)
		if share > 1 {
			l.fill(mark, l.y-2.9, left+width*min(share, full)/full-mark, 3.6, overBar)
			l.line(mark, l.y-3.9, mark, l.y+1.7, 0.4, over)
		}
		l.style(8.5, share > 1, ink)
		l.right(right, l.y, decimal.NewFromFloat(100*share).StringFixed(0)+"\u00a0% of "+quantityWords(u.quota)+unit)
		l.y += 7
	}
	l.y = pageBottom // what follows has pages of its own
}

func (l *letter) charge(row Row) {
	l.style(9, true, ink)
	l.text(chargeColumns[0].x, l.y, l.fit(row.Service, 36))
	l.style(9, false, ink)
	from, to := row.PeriodFrom, row.PeriodTo
	l.text(chargeColumns[1].x, l.y, spanWords(from, to))
	quota := "unmetered"
	if !row.Unlimited {
		quota = quantityWords(row.Quota)
	}
	excess, billed := "–", "–"
	if !row.Excess.IsZero() {
		excess = quantityWords(row.Excess)
	}
	if !row.BilledQuantity.IsZero() {
		billed = quantityWords(row.BilledQuantity) + "\u00a0" + string(row.PriceUnit)
	}
	l.right(chargeColumns[2].x, l.y, quantityWords(row.Used)+"\u00a0"+string(row.Unit))
	l.right(chargeColumns[3].x, l.y, quota)
	if row.Excess.IsPositive() {
		l.style(9, false, over)
	}
	l.right(chargeColumns[4].x, l.y, excess)
	l.style(9, false, ink)
	l.right(chargeColumns[5].x, l.y, billed)
	l.style(9, !row.AmountExVAT.IsZero(), ink)
	l.right(chargeColumns[6].x, l.y, moneyWords(row.AmountExVAT, row.Currency))
	l.style(8, false, dim)
	l.text(chargeColumns[0].x, l.y+4, l.fit(row.Plan, 36))
	l.text(chargeColumns[1].x, l.y+4, l.fit(row.note(), 90))
	if row.PriceUnit != "" && !row.BilledQuantity.IsZero() {
		l.right(right, l.y+4, "at "+priceWords(row.UnitPrice, row.Currency)+" per "+string(row.PriceUnit))
	}
	l.line(pageMargin, l.y+6.2, right, l.y+6.2, 0.15, rule)
	l.y += 11
}

// note says what a row is where it is not the plain statement of a period.
func (r Row) note() string {
	switch {
	case r.Kind == rating.KindAdjustment:
		return fmt.Sprintf("adjustment, revision %d: what became known after closing", r.Revision)
	case r.Kind == rating.KindWaived:
		return "waived: not charged"
	case r.Provisional && r.Pool != nil:
		return "open: so far; " + r.poolNote()
	case r.Provisional:
		return "open: so far"
	}
	return r.poolNote()
}

// feet writes the foot of each page, now that their number is known.
func (l *letter) feet() {
	pages := l.pdf.PageCount()
	for page := 1; page <= pages; page++ {
		l.pdf.SetPage(page)
		l.line(pageMargin, pageHeight-14, right, pageHeight-14, 0.2, rule)
		l.style(7.5, false, dim)
		l.text(pageMargin, pageHeight-9.5, "This is a statement of usage, not an invoice. Amounts exclude VAT.")
		l.right(right, pageHeight-9.5, fmt.Sprintf("Page %d of %d", page, pages))
	}
}

// service is one service and period: its chart, how it was measured and how it was charged.
func (l *letter) service(e Evidence) {
	l.need(118)
	row := e.Rows[0]
	l.line(pageMargin, l.y-4, right, l.y-4, 0.3, ink)
	l.y += 3
	l.style(13, true, ink)
	l.text(pageMargin, l.y, l.fit(row.Service, 105))
	l.style(9, false, dim)
	l.right(right, l.y, l.fit(spanWords(row.PeriodFrom, row.PeriodTo)+", "+row.TimeZone, 78))
	l.y += 5.5
	l.style(9, false, ink)
	for _, line := range l.wrap(e.sentence(), textWidth) {
		l.text(pageMargin, l.y, line)
		l.y += 4.4
	}
	l.y += 2
	l.chart(e)
	l.y += 7
	l.pairs("How it was charged", e.charged())
	l.pairs("How it was measured", e.measured())
	l.classes(e)
	l.owned(e)
	l.y += 10
}

// sentence tells the charge in words.
func (e Evidence) sentence() string {
	row := e.Rows[0]
	unit := "\u00a0" + string(row.Unit)
	used := decimal.Zero
	amount := decimal.Zero
	billed := decimal.Zero
	for _, r := range e.Rows {
		used, amount, billed = used.Add(r.Used), amount.Add(r.AmountExVAT), billed.Add(r.BilledQuantity)
	}
	so := map[bool]string{true: " so far", false: ""}[row.Provisional]
	text := fmt.Sprintf("%s%s used%s", quantityWords(used), unit, so)
	if row.Pool != nil {
		return e.poolSentence(used, amount)
	}
	switch {
	case row.Unlimited:
		return text + "; the service is unmetered."
	case used.LessThanOrEqual(row.Quota):
		text += fmt.Sprintf(" of a quota of %s%s: within the quota", quantityWords(row.Quota), unit)
	default:
		text += fmt.Sprintf(" of a quota of %s%s: %s%s over", quantityWords(row.Quota), unit, quantityWords(used.Sub(row.Quota)), unit)
	}
	last := e.Last()
	switch {
	case last.Hold != "":
		text += "; held: " + last.Hold
	case row.Kind == rating.KindWaived:
		text += "; waived"
	case billed.IsZero() && used.GreaterThan(row.Quota) && row.Grace.IsPositive():
		text += fmt.Sprintf(", within the grace of %s%s", quantityWords(row.Grace), unit)
	}
	if !billed.IsZero() {
		text += fmt.Sprintf(", billed as %s\u00a0%s at %s = %s", quantityWords(billed), row.PriceUnit, priceWords(row.UnitPrice, row.Currency), moneyWords(amount, row.Currency))
	}
	if len(e.Rows) > 1 {
		text += fmt.Sprintf(", after %s", plural(int64(len(e.Rows)-1), "adjustment", "adjustments"))
	}
	return text + "."
}

// pair is a fact and its name.
type pair struct{ name, text string }

// charged says by which contract and price.
func (e Evidence) charged() []pair {
	c, row := e.Contract, e.Rows[0]
	quota := "unlimited"
	if !row.Unlimited {
		quota = row.Quota.String() + "\u00a0" + string(row.Unit)
	}
	list := []pair{
		{"Quota", quota + ", " + level(e.quotaLevel()) + "; " + unitWords(row.Unit)},
		{"What counts", directionWords(row.Direction) + ", " + level(c.Direction.Level)},
	}
	list = append(list, e.poolPairs()...)
	if p := e.Price; p != nil {
		begun := map[bool]string{true: " begun", false: ""}[p.Begun]
		block := ""
		if p.Begun && c.Block.Value.Amount.IsPositive() {
			block = fmt.Sprintf(", in blocks of %s (%s)", c.Block.Value, level(c.Block.Level))
		}
		list = append(list, pair{"Price", fmt.Sprintf("%s per %s%s excluding VAT%s; in force since %s, announced on %s", row.Currency+"\u00a0"+grouped(UnitPrice(p.Amount, row.Currency)), p.Per, begun, block, dateWords(p.From), dateWords(p.Noticed))})
	}
	list = append(list, pair{"Rule", "the " + levelName(row.RuleFrom) + " is the strongest level among quota, direction and block; a contract's own setting wins over its plan's, and a plan's over the provider's"})
	for _, rule := range e.Last().Rules {
		switch {
		case rating.DecisionKind(rule.Name).IsChoice():
			list = append(list, pair{"Choice", rule.Name + " (" + rule.Value + ")"})
		case worthTelling(rule):
			list = append(list, pair{rule.Name, rule.Value + ", " + level(rule.Level)})
		}
	}
	for _, closing := range e.Closings {
		list = append(list, pair{
			map[bool]string{true: "Statement", false: "Adjustment"}[closing.Revision == 1],
			fmt.Sprintf("%s, revision %d, closed on %s as no. %d, SHA-256 %s…", row.Statement, closing.Revision, dayWords(closing.ClosedAt.In(e.Zone())), closing.Number, short(closing.Hash)),
		})
	}
	return list
}

func short(hash string) string { return hash[:min(12, len(hash))] }

func level(l rating.Level) string { return "set by the " + levelName(l) }

// worthTelling says that a rule is no everyday setting, and not told elsewhere on the page.
func worthTelling(r rating.Rule) bool {
	switch r.Name {
	case "grace", "partial", "free", "missing", "quota_in_pool":
		return true
	case "quota":
		return strings.Contains(r.Value, " from ")
	case "sampled":
		return r.Value != string(rating.SampledEstimate) || r.Level == rating.FromDecision
	}
	return r.Level == rating.FromDecision
}

func levelName(l rating.Level) string {
	if l == rating.FromProvider {
		return "provider's default"
	}
	return string(l)
}

// measured says how well the usage is known.
func (e Evidence) measured() []pair {
	row := e.Last()
	list := []pair{{"Source", map[string]string{
		"address": "octets of layer 3 (IP packets) of the service's addresses, as flow records of the network told them",
		"vnic":    "octets of layer 3 by the counters of the service's virtual interfaces, less 14 octets a frame",
		"port":    "octets of layer 3 by the counters of the service's switch ports, less 18 octets a frame",
	}[e.Contract.Bills.Value]}}
	if e.Slots.Expected > 0 {
		text := fmt.Sprintf("%s of %s five-minute slots were observed", grouped(fmt.Sprint(e.Slots.Present)), grouped(fmt.Sprint(e.Slots.Expected)))
		if e.Slots.Missing == 0 {
			text = fmt.Sprintf("all %s five-minute slots were observed", grouped(fmt.Sprint(e.Slots.Expected)))
		} else {
			text += fmt.Sprintf(", %s missing: %s; what was not observed is not charged", plural(e.Slots.Missing, "is", "are"), e.gaps(3))
		}
		list = append(list, pair{"Completeness", text})
	}
	billable, low, high := e.Interval95()
	if row.StandardErrorOctets > 0 {
		list = append(list, pair{"Sampling", fmt.Sprintf("the network counts samples: %s is an estimate with a standard error of %s; in 95 of 100 months the true value lies between %s and %s", octetWords(billable), octetWords(row.StandardErrorOctets), octetWords(low), octetWords(high))})
	} else {
		list = append(list, pair{"Sampling", "nothing was sampled: the figures are counts, not estimates"})
	}
	if text := e.losses(); text != "" {
		list = append(list, pair{"Losses", text})
	}
	if text := e.crossCheck(); text != "" {
		list = append(list, pair{"Cross-check", text})
	}
	if !e.Difference.IsZero() {
		list = append(list, pair{"Not yet adjusted", fmt.Sprintf("%s in and %s out are known by now, and will be on an adjustment", octetWords(e.Difference.InOctets), octetWords(e.Difference.OutOctets))})
	}
	return list
}

// crossCheck says what the comparison with the service's other meters came to; empty where there was none.
func (e Evidence) crossCheck() string {
	compared, outside := 0, 0
	for _, r := range e.Reconciliation {
		switch r.Verdict {
		case reconcile.NotCompared:
			continue
		case reconcile.Outside:
			outside++
		}
		compared++
	}
	if compared == 0 {
		return ""
	}
	text := fmt.Sprintf("on %d of %d days the figure was held against the service's other meters; it lay ", compared, len(e.Reconciliation))
	if outside == 0 {
		return text + "within what they allow on each of them"
	}
	return text + fmt.Sprintf("outside what they allow on %d of them", outside)
}

// gaps names the first n gaps.
func (e Evidence) gaps(n int) string {
	var list []string
	for _, g := range e.Slots.Gaps[:min(n, len(e.Slots.Gaps))] {
		from, to := g.From.In(e.Zone()), g.To.In(e.Zone())
		end := to.Format("15:04")
		if from.YearDay() != to.YearDay() {
			end = to.Format("2 Jan 15:04")
		}
		list = append(list, from.Format("2 Jan 15:04")+"–"+end)
	}
	if more := len(e.Slots.Gaps) - n; more > 0 {
		list = append(list, plural(int64(more), "more span", "more spans"))
	}
	return strings.Join(list, ", ")
}

// losses says what the exporters declare as sent and never received.
func (e Evidence) losses() string {
	if len(e.Exporters) == 0 {
		return ""
	}
	var counts []Count
	var batches int64 // the same ones stand with each exporter
	for _, x := range e.Exporters {
		for _, c := range x.Lost {
			if c.Unit == UnitBatches {
				batches = max(batches, c.Count)
			} else if at := slices.IndexFunc(counts, func(have Count) bool { return have.Unit == c.Unit }); at >= 0 {
				counts[at].Count += c.Count
			} else {
				counts = append(counts, Count{Unit: c.Unit, Count: c.Count})
			}
		}
	}
	text := "the network's exporters declare no loss"
	if len(counts) > 0 {
		text = fmt.Sprintf("the network's exporters declare %s lost on the way, about %s of all that they saw; losses are never added", countsText(counts), octetWords(e.LostOctets()))
	}
	if batches > 0 {
		text += fmt.Sprintf("; %s of what was counted could not be read any more before it was booked, and what stood in it is not charged", plural(batches, "batch", "batches"))
	}
	return text
}

// pairs draws facts, their names in a column of their own.
func (l *letter) pairs(title string, list []pair) {
	const nameWidth = 27
	l.need(12 + 5*float64(len(list)))
	l.style(10, true, ink)
	l.text(pageMargin, l.y, title)
	l.y += 5.4
	for _, p := range list {
		l.style(8.5, false, ink)
		lines := l.wrap(p.text, textWidth-nameWidth)
		l.need(4 * float64(len(lines)))
		l.style(8.5, false, dim)
		l.text(pageMargin, l.y, p.name)
		l.style(8.5, false, ink)
		for _, line := range lines {
			l.text(pageMargin+nameWidth, l.y, line)
			l.y += 4
		}
		l.y += 0.6
	}
	l.y += 4
}

// classes is the table of usage by class and direction.
func (l *letter) classes(e Evidence) {
	type sum struct {
		class   string
		counted bool
		in, out int64
	}
	var sums []sum
	for _, u := range e.Days {
		at := slices.IndexFunc(sums, func(s sum) bool { return s.class == u.Class })
		if at < 0 {
			at, sums = len(sums), append(sums, sum{class: u.Class, counted: u.Counted})
		}
		sums[at].in, sums[at].out = sums[at].in+u.InOctets, sums[at].out+u.OutOctets
	}
	rows := make([][]string, len(sums))
	for i, s := range sums {
		rows[i] = []string{classWords(s.class), map[bool]string{true: "counted", false: "not counted"}[s.counted], grouped(fmt.Sprint(s.in)), grouped(fmt.Sprint(s.out))}
	}
	l.table("Traffic, in octets", []tableColumn{{"Class", 0, false}, {"Against the quota", 70, false}, {"In", 134, true}, {"Out", textWidth, true}}, rows)
}

// ownedMax is how many spans of ownership are printed; all of them are in the evidence file.
const ownedMax = 10

func (l *letter) owned(e Evidence) {
	if len(e.Owned) == 0 {
		return
	}
	var rows [][]string
	for _, o := range e.Owned[:min(ownedMax, len(e.Owned))] {
		from, to := o.From.In(e.Zone()), o.To.In(e.Zone())
		span := "the whole period"
		if !from.Equal(e.Rows[0].PeriodFrom) || !to.Equal(e.Rows[0].PeriodTo) {
			span = from.Format("2 Jan 2006 15:04") + " – " + to.Format("2 Jan 2006 15:04")
		}
		rows = append(rows, []string{meterWords(o.Meter), span, octetWords(o.InOctets), octetWords(o.OutOctets)})
	}
	if more := len(e.Owned) - ownedMax; more > 0 {
		rows = append(rows, []string{"and " + plural(int64(more), "more", "more") + ", in the evidence file", "", "", ""})
	}
	l.table("Addresses, and when they were this service's", []tableColumn{{"Address or meter", 0, false}, {"From – to", 70, false}, {"In", 146, true}, {"Out", textWidth, true}}, rows)
}

type tableColumn struct {
	name  string
	x     float64
	right bool
}

func (l *letter) table(title string, columns []tableColumn, rows [][]string) {
	l.need(14 + 4.6*float64(len(rows)))
	l.style(10, true, ink)
	l.text(pageMargin, l.y, title)
	l.y += 5.4
	write := func(texts []string) {
		for i, c := range columns {
			if c.right {
				l.right(pageMargin+c.x, l.y, texts[i])
				continue
			}
			width := textWidth - c.x
			if i+1 < len(columns) {
				width = columns[i+1].x - c.x - 2
			}
			l.text(pageMargin+c.x, l.y, l.fit(texts[i], width))
		}
	}
	heads := make([]string, len(columns))
	for i, c := range columns {
		heads[i] = c.name
	}
	l.style(8, true, dim)
	write(heads)
	l.line(pageMargin, l.y+1.4, right, l.y+1.4, 0.2, rule)
	l.y += 5
	for _, row := range rows {
		l.need(4.6)
		l.style(8.5, false, ink)
		write(row)
		l.y += 4.6
	}
	l.y += 4
}
