package statement

import (
	"math"
	"time"

	"codeberg.org/go-pdf/fpdf"
	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
)

// The chart, in millimetres: the period's running total against the quota, and the days below it.
const (
	chartLeft        = pageMargin + 14
	chartWidth       = textWidth - 14
	totalHeight      = 40.0
	daysHeight       = 20.0
	betweenCharts    = 8.0
	quotaLabelHeight = 3.2
)

// dayTotal is a local day of the period.
type dayTotal struct {
	from, to time.Time
	in, out  float64 // counted, in the chart's unit
}

// chart draws both. Where the direction has no running total of octets, as the 95th percentile, it draws
// the days alone.
func (l *letter) chart(e Evidence) {
	row := e.Rows[0]
	per, unit := float64(row.Unit.Octets()), string(row.Unit)
	running := per > 0 && (row.Direction == rating.Sum || row.Direction == rating.In || row.Direction == rating.Out)
	if per <= 0 {
		per, unit = 1e9, "GB"
	}
	days := e.dayTotals(per)
	if len(days) == 0 || !row.PeriodFrom.Before(row.PeriodTo) {
		return
	}
	x := timeAxis{from: row.PeriodFrom, to: row.PeriodTo}
	if running {
		l.legend("Running total in "+unit, nil)
		l.runningTotal(e, days, x)
		l.y += betweenCharts
	}
	highest := 0.0
	for _, d := range days {
		highest = max(highest, d.in+d.out)
	}
	scale, name := 1.0, unit
	if row.Unit == rating.TB && highest < 0.5 || row.Unit == rating.TiB && highest < 0.5 {
		scale, name = 1000, "GB"
		if row.Unit == rating.TiB {
			scale, name = 1024, "GiB"
		}
	}
	for i := range days {
		days[i].in, days[i].out = days[i].in*scale, days[i].out*scale
	}
	in, out := legendEntry{"in", soft}, legendEntry{"out", accent}
	switch row.Direction {
	case rating.In:
		in.c, out = accent, legendEntry{"out, not counted", uncounted}
	case rating.Out:
		in = legendEntry{"in, not counted", uncounted}
	}
	l.legend("Each day in "+name, []legendEntry{in, out})
	l.dayBars(e, days, x, highest*scale, in.c, out.c)
}

func (e Evidence) dayTotals(per float64) []dayTotal {
	var days []dayTotal
	for _, u := range e.Days {
		if n := len(days); n == 0 || !days[n-1].from.Equal(u.From) {
			days = append(days, dayTotal{from: u.From, to: u.To})
		}
		if d := &days[len(days)-1]; u.Counted {
			d.in += float64(u.InOctets) / per
			d.out += float64(u.OutOctets) / per
		}
	}
	return days
}

// timeAxis maps the period to the width of the chart.
type timeAxis struct{ from, to time.Time }

func (a timeAxis) x(at time.Time) float64 {
	share := float64(at.Sub(a.from)) / float64(a.to.Sub(a.from))
	return chartLeft + chartWidth*min(max(share, 0), 1)
}

type legendEntry struct {
	name string
	c    colour
}

func (l *letter) legend(title string, entries []legendEntry) {
	l.style(8, true, dim)
	l.text(pageMargin, l.y+2, title)
	x := right
	for i := len(entries) - 1; i >= 0; i-- {
		l.style(8, false, dim)
		x -= l.width(entries[i].name)
		l.text(x, l.y+2, entries[i].name)
		x -= 4
		l.fill(x, l.y-0.4, 2.6, 2.6, entries[i].c)
		x -= 4
	}
	l.y += 5
}

// axis draws the frame of a chart whose values go from 0 to highest, and returns where a value is.
func (l *letter) axis(e Evidence, x timeAxis, height, highest float64, ticks int, labels bool) func(v float64) float64 {
	step := niceStep(highest, ticks)
	top := max(highest, step)
	y := func(v float64) float64 { return l.y + height*(1-v/top) }
	for _, g := range e.Slots.Gaps {
		if from, to := x.x(g.From), x.x(g.To); to > from {
			l.fill(from, l.y, max(to-from, 0.5), height, gapShade)
		}
	}
	for v := 0.0; v <= top*1.0001; v += step {
		l.line(chartLeft, y(v), chartLeft+chartWidth, y(v), 0.15, rule)
		l.style(7, false, dim)
		l.right(chartLeft-2, y(v)+0.9, tickText(v, step))
	}
	if labels {
		l.days(x, height)
	}
	return y
}

// days writes the dates below a chart.
func (l *letter) days(x timeAxis, height float64) {
	count := int(x.to.Sub(x.from).Hours()/24 + 0.5)
	every := max((count+7)/8, 1)
	for i := 0; i < count; i += every {
		at := x.from.AddDate(0, 0, i)
		l.style(7, false, dim)
		text := at.Format("2 Jan")
		if px := x.x(at); px+l.width(text) <= right {
			l.line(px, l.y+height, px, l.y+height+1, 0.15, dim)
			l.text(px, l.y+height+3.6, text)
		}
	}
}

func (l *letter) runningTotal(e Evidence, days []dayTotal, x timeAxis) {
	row := e.Rows[0]
	value := func(d dayTotal) float64 {
		switch row.Direction {
		case rating.In:
			return d.in
		case rating.Out:
			return d.out
		}
		return d.in + d.out
	}
	total := 0.0
	for _, d := range days {
		total += value(d)
	}
	quota := row.Quota.InexactFloat64()
	highest := total
	if !row.Unlimited {
		highest = max(highest, quota)
	}
	y := l.axis(e, x, totalHeight, highest*1.1, 4, false)
	points := []fpdf.PointType{{X: x.x(days[0].from), Y: y(0)}}
	sum := 0.0
	for _, d := range days {
		sum += value(d)
		points = append(points, fpdf.PointType{X: x.x(d.to), Y: y(sum)})
	}
	area := append(append([]fpdf.PointType{}, points...), fpdf.PointType{X: points[len(points)-1].X, Y: y(0)})
	l.pdf.SetAlpha(0.16, "Normal")
	l.pdf.SetFillColor(accent[0], accent[1], accent[2])
	l.pdf.Polygon(area, "F")
	l.pdf.SetAlpha(1, "Normal")
	l.pdf.SetLineJoinStyle("round")
	for i := 1; i < len(points); i++ {
		l.climb(points[i-1], points[i], y(quota), !row.Unlimited)
	}
	if !row.Unlimited {
		l.pdf.SetDashPattern([]float64{1.6, 1.1}, 0)
		l.line(chartLeft, y(quota), chartLeft+chartWidth, y(quota), 0.4, over)
		l.pdf.SetDashPattern([]float64{}, 0)
		l.style(7.5, true, over)
		text := "quota " + quantityWords(row.Quota) + "\u00a0" + string(row.Unit)
		at := y(quota) - 1.2
		if at < l.y+quotaLabelHeight {
			at = y(quota) + quotaLabelHeight
		}
		l.text(chartLeft+1.5, at, text)
	}
	l.y += totalHeight
}

// climb draws a piece of the running total; what is above the quota's line has a colour of its own.
func (l *letter) climb(a, b fpdf.PointType, quota float64, limited bool) {
	switch {
	case !limited || b.Y >= quota:
		l.line(a.X, a.Y, b.X, b.Y, 0.55, accent)
	case a.Y <= quota:
		l.line(a.X, a.Y, b.X, b.Y, 0.7, overBar)
	default:
		crossing := a.X + (b.X-a.X)*(a.Y-quota)/(a.Y-b.Y)
		l.line(a.X, a.Y, crossing, quota, 0.55, accent)
		l.line(crossing, quota, b.X, b.Y, 0.7, overBar)
	}
}

func (l *letter) dayBars(e Evidence, days []dayTotal, x timeAxis, highest float64, in, out colour) {
	y := l.axis(e, x, daysHeight, highest*1.05, 2, true)
	for _, d := range days {
		from, to := x.x(d.from), x.x(d.to)
		width := (to - from) * 0.74
		left := from + (to-from-width)/2
		l.fill(left, y(d.in), width, y(0)-y(d.in), in)
		l.fill(left, y(d.in+d.out), width, y(d.in)-y(d.in+d.out), out)
	}
	l.y += daysHeight + 4
	if len(e.Slots.Gaps) > 0 {
		l.y += 3.4
		l.style(7, false, dim)
		l.fill(chartLeft, l.y-2.2, 2.6, 2.6, gapShade)
		l.text(chartLeft+4, l.y, "not observed")
	}
}

// niceStep returns a round step that goes into highest about n times.
func niceStep(highest float64, n int) (step float64) {
	if !(highest > 0) || math.IsInf(highest, 0) {
		return 1
	}
	rough := highest / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if step = m * power; step >= rough*0.9 {
			break
		}
	}
	return step
}

// tickText writes a multiple of step with the digits that step has.
func tickText(v, step float64) string {
	power := math.Floor(math.Log10(step) + 1e-9)
	digits := -power
	if math.Abs(step/math.Pow(10, power)-2.5) < 0.01 {
		digits++
	}
	return grouped(decimal.NewFromFloat(v).StringFixed(int32(max(0, digits))))
}
