package httpapi

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"
)

// chart draws series over time as inline SVG: a gap where nothing was observed, a line at the
// threshold, ticks in the provider's zone. Colours come from the style sheet by class.
type chart struct {
	from, to  time.Time
	zone      *time.Location
	unit      string
	threshold *float64
	series    []chartSeries
}

type chartSeries struct {
	name   string
	points []Point
}

// The drawing's own units; the page scales it.
const (
	chartWidth, chartHeight             = 960.0, 250.0
	chartLeft, chartRight               = 78.0, 12.0
	chartTop, chartBottom               = 14.0, 26.0
	chartColumns                        = 480 // points drawn at most; above it, the highest of each column
	chartPlotWidth, chartPlotHeight     = chartWidth - chartLeft - chartRight, chartHeight - chartTop - chartBottom
	chartYTicks                     int = 4
)

func (c chart) svg() template.HTML {
	if len(c.series) == 0 || !c.from.Before(c.to) {
		return ""
	}
	step, highest := c.scale()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="chart" viewBox="0 0 %g %g" role="img" aria-label="%s">`, chartWidth, chartHeight, template.HTMLEscapeString(c.label()))
	y := func(v float64) float64 { return chartTop + chartPlotHeight*(1-v/highest) }
	x := func(at time.Time) float64 {
		return chartLeft + chartPlotWidth*at.Sub(c.from).Seconds()/c.to.Sub(c.from).Seconds()
	}
	for v := 0.0; v <= highest*1.0001; v += step {
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/>`, chartLeft, chartWidth-chartRight, y(v), y(v))
		fmt.Fprintf(&b, `<text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>`, chartLeft-8, y(v)+4, template.HTMLEscapeString(tickValue(v, c.unit)))
	}
	for _, t := range c.timeTicks() {
		fmt.Fprintf(&b, `<line class="mark" x1="%.1f" x2="%.1f" y1="%g" y2="%g"/>`, x(t.at), x(t.at), chartHeight-chartBottom, chartHeight-chartBottom+4)
		fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%g" text-anchor="middle">%s</text>`, x(t.at), chartHeight-7, t.text)
	}
	for i, s := range c.series {
		line, area := path(columns(s.points, c.from, c.to), x, y)
		if len(c.series) == 1 {
			fmt.Fprintf(&b, `<path class="area s%d" d="%s"/>`, i, area)
		}
		fmt.Fprintf(&b, `<path class="line s%d" d="%s"/>`, i, line)
	}
	if c.threshold != nil && *c.threshold <= highest && *c.threshold >= 0 {
		fmt.Fprintf(&b, `<line class="threshold" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/>`, chartLeft, chartWidth-chartRight, y(*c.threshold), y(*c.threshold))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // every text in it was escaped above or is a number
}

func (c chart) label() string {
	names := make([]string, len(c.series))
	for i, s := range c.series {
		names[i] = s.name
	}
	return strings.Join(names, " and ") + " from " + timeText(c.from, c.zone) + " to " + timeText(c.to, c.zone)
}

// scale returns a round step between ticks and the top of the axis, which shows the threshold too.
func (c chart) scale() (step, highest float64) {
	for _, s := range c.series {
		for _, p := range s.points {
			if p.Value != nil && !math.IsInf(*p.Value, 0) {
				highest = math.Max(highest, *p.Value)
			}
		}
	}
	if c.threshold != nil {
		highest = math.Max(highest, *c.threshold)
	}
	if !(highest > 0) {
		highest = 1
	}
	if c.unit == "ratio" && highest <= 1.1 && highest > 0.5 {
		return 0.25, 1.1 // a share's own scale, with room for CPU time a little above its capacity
	}
	rough := highest * 1.05 / float64(chartYTicks)
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if m*power >= rough {
			step = m * power
			break
		}
	}
	return step, step * math.Ceil(highest/step)
}

// tickValue is a round value without the zeros behind its point.
func tickValue(v float64, unit string) string {
	number, rest, found := strings.Cut(valueText(v, unit), nbsp)
	if strings.Contains(number, ".") {
		number = strings.TrimSuffix(strings.TrimRight(number, "0"), ".")
	}
	if !found {
		return number
	}
	return number + nbsp + rest
}

type tick struct {
	at   time.Time
	text string
}

// timeTicks returns four to nine ticks at round local times.
func (c chart) timeTicks() []tick {
	span := c.to.Sub(c.from)
	steps := []time.Duration{5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
		day, 2 * day, 7 * day, 14 * day, 28 * day}
	step := steps[len(steps)-1]
	for _, s := range steps {
		if span <= 9*s {
			step = s
			break
		}
	}
	var ticks []tick
	local := c.from.In(c.zone)
	at := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, c.zone)
	for i := 0; !at.After(c.to) && i < 2000; i++ {
		if at.After(c.from.Add(span/40)) && at.Before(c.to.Add(-span/40)) {
			ticks = append(ticks, tick{at, tickText(at, step)})
		}
		if step >= day {
			at = at.AddDate(0, 0, int(step/day))
			continue
		}
		at = at.Add(step)
	}
	return ticks
}

func tickText(at time.Time, step time.Duration) string {
	if at.Hour() == 0 && at.Minute() == 0 {
		return at.Format("Mon 2 Jan")
	}
	if step >= day {
		return at.Format("2 Jan")
	}
	return at.Format("15:04")
}

// columns thins points to what can be seen, keeping the highest of each column and the gaps.
func columns(points []Point, from, to time.Time) []Point {
	if len(points) <= 2*chartColumns {
		return points
	}
	width := to.Sub(from) / chartColumns
	var out []Point
	var current Point
	last := -1
	for _, p := range points {
		column := int(p.At.Sub(from) / width)
		if column != last {
			if last >= 0 {
				out = append(out, current)
			}
			current, last = p, column
			continue
		}
		if p.Value != nil && (current.Value == nil || *p.Value > *current.Value) {
			current.Value = p.Value
		}
	}
	return append(out, current)
}

// path returns the line through the points and the area below it, both broken at gaps.
func path(points []Point, x func(time.Time) float64, y func(float64) float64) (line, area string) {
	var l, a strings.Builder
	open, lastX := false, 0.0
	closeArea := func() {
		if open {
			fmt.Fprintf(&a, "L%.1f,%.1fZ", lastX, y(0))
		}
		open = false
	}
	for _, p := range points {
		if x(p.At) < chartLeft || x(p.At) > chartWidth-chartRight {
			continue // a slot that began before the span
		}
		if p.Value == nil || math.IsNaN(*p.Value) || math.IsInf(*p.Value, 0) {
			closeArea()
			continue
		}
		px, py := x(p.At), y(*p.Value)
		if open {
			fmt.Fprintf(&l, "L%.1f,%.1f", px, py)
			fmt.Fprintf(&a, "L%.1f,%.1f", px, py)
		} else {
			fmt.Fprintf(&l, "M%.1f,%.1f", px, py)
			fmt.Fprintf(&a, "M%.1f,%.1fL%.1f,%.1f", px, y(0), px, py)
		}
		open, lastX = true, px
	}
	closeArea()
	return l.String(), a.String()
}
