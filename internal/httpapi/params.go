package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// params reads a query strictly: a name that the route does not know, or one that is given twice, is
// an error, since a misspelt filter would answer with everything.
type params struct {
	values url.Values
	zone   *time.Location
	err    *problem // the first
}

func readParams(r *http.Request, zone *time.Location, known ...string) *params {
	p := &params{zone: zone}
	var err error
	if p.values, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		p.fail("query", "cannot be read", "escape it as in ?month=2026-10")
		return p
	}
	names := make([]string, 0, len(p.values))
	for name := range p.values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch {
		case !slices.Contains(known, name) && len(known) == 0:
			p.fail(fmt.Sprintf("%.40q", name), "is not a parameter of this route", "it has none")
		case !slices.Contains(known, name):
			p.fail(fmt.Sprintf("%.40q", name), "is not a parameter of this route", "it has "+strings.Join(known, ", "))
		case len(p.values[name]) > 1:
			p.fail(name, "is given twice", "give it once")
		}
	}
	return p
}

func (p *params) fail(name, what, hint string) {
	if p.err == nil {
		p.err = badRequest(name+" "+what, hint)
	}
}

// error returns the first problem, as an error that is nil where there is none.
func (p *params) error() error {
	if p.err == nil {
		return nil
	}
	return p.err
}

// textMax bounds what is passed on of a parameter; no identifier is longer.
const textMax = 256

func (p *params) text(name string) string {
	value := p.values.Get(name)
	if len(value) > textMax || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
		p.fail(name, "is not a short text", fmt.Sprintf("at most %d printable characters", textMax))
		return ""
	}
	return value
}

func (p *params) choice(name, preset string, among ...string) string {
	value := p.text(name)
	if value == "" {
		return preset
	}
	if !slices.Contains(among, value) {
		p.fail(name, fmt.Sprintf("is %q", value), "want "+strings.Join(among, " or "))
	}
	return value
}

func (p *params) flag(name string) *bool {
	switch p.choice(name, "", "true", "false") {
	case "true":
		yes := true
		return &yes
	case "false":
		no := false
		return &no
	}
	return nil
}

func (p *params) number(name string, preset, least, most int64) int64 {
	value := p.text(name)
	if value == "" {
		return preset
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < least || n > most {
		p.fail(name, fmt.Sprintf("is %q", value), fmt.Sprintf("want a whole number from %d to %d", least, most))
		return preset
	}
	return n
}

// time reads RFC 3339, or a date, which is its midnight in the provider's zone.
func (p *params) time(name string, preset time.Time) time.Time {
	value := p.text(name)
	if value == "" {
		return preset
	}
	at, err := parseTime(value, p.zone)
	if err != nil {
		p.fail(name, fmt.Sprintf("is %q", value), err.Error())
		return preset
	}
	return at
}

func parseTime(text string, zone *time.Location) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		at, err = time.ParseInLocation("2006-01-02", text, zone)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("want a time such as 2026-10-01T00:00:00Z (escape + as %%2B) or a date such as 2026-10-01")
	}
	if at.Year() < 1970 || at.Year() > 2200 {
		return time.Time{}, fmt.Errorf("want a year from 1970 to 2200")
	}
	return at.UTC(), nil
}

func (p *params) month(name string, preset Month) Month {
	value := p.text(name)
	if value == "" {
		return preset
	}
	month, err := ParseMonth(value)
	if err != nil {
		p.fail(name, fmt.Sprintf("is %q", value), "want a month such as 2026-10")
		return preset
	}
	return month
}

// span reads from and to, and refuses one that is empty or longer than most.
func (p *params) span(from, to time.Time, most time.Duration) (time.Time, time.Time) {
	from, to = p.time("from", from), p.time("to", to)
	switch {
	case !from.Before(to):
		p.fail("from", "is not before to", "a span is [from, to)")
	case to.Sub(from) > most:
		p.fail("to", "is too far from from", fmt.Sprintf("ask for at most %d days at once", int(most.Hours()/24)))
	}
	return from, to
}
