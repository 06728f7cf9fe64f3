package statement

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"
)

// Completeness is how much of what an exporter should have told in the report's month arrived, and what became of
// it: Octets is the sum of the four that follow it.
type Completeness struct {
	Exporter
	Protocols []string `json:"protocols"`
	// Coverage is the share of what should have been observed that was: minutes, each hour's times the part that was
	// received of what was sent in it. An exporter that was never heard has 0.
	Coverage        float64 `json:"coverage"`
	OctetsOnce      int64   `json:"octets_once"` // booked at one meter
	OctetsBoth      int64   `json:"octets_both"` // at both ends
	OctetsTransit   int64   `json:"octets_transit"`
	OctetsUncounted int64   `json:"octets_uncounted"` // left out by the accounting mode
	Held            []Count `json:"held"`
	Gaps            []Gap   `json:"gaps"` // in which it was not observed
}

// MissingMinutes were expected and not observed.
func (c Completeness) MissingMinutes() int64 { return c.MinutesExpected - c.MinutesObserved }

// LongestGap is the longest span in which the exporter was not observed; the zero Gap where there is none.
func (c Completeness) LongestGap() (longest Gap) {
	for _, g := range c.Gaps {
		if g.To.Sub(g.From) > longest.To.Sub(longest.From) {
			longest = g
		}
	}
	return longest
}

func (c Completeness) withoutNulls() Completeness {
	c.Protocols, c.Held, c.Gaps, c.Lost, c.Dropped = list(c.Protocols), list(c.Held), list(c.Gaps), list(c.Lost), list(c.Dropped)
	return c
}

// The columns of the parts' CSVs. Others read them by name and by place: add at the end.
const (
	unownedColumns      = "meter,class,in_octets,out_octets"
	completenessColumns = "exporter,protocols,coverage,minutes_expected,minutes_observed,minutes_missing,gaps,longest_gap_from,longest_gap_to,datagrams,records," +
		"reported_octets,octets,octets_once,octets_both,octets_transit,octets_uncounted,unknown_sampling_records,lost,lost_octets_estimated,dropped,held"
)

// WriteUnownedCSV writes one line for each meter and class that had traffic while no service owned it.
func WriteUnownedCSV(w io.Writer, report Report) error {
	return writeCSV(w, "unowned traffic of "+report.Month, unownedColumns, func(line func(...string) error) error {
		for _, u := range report.Unowned {
			if err := line(text(u.Meter), text(u.Class), integer(u.InOctets), integer(u.OutOctets)); err != nil {
				return err
			}
		}
		return nil
	})
}

// WriteCompletenessCSV writes one line an exporter.
func WriteCompletenessCSV(w io.Writer, report Report) error {
	return writeCSV(w, "completeness of "+report.Month, completenessColumns, func(line func(...string) error) error {
		for _, c := range report.Exporters {
			if err := line(c.texts()...); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c Completeness) texts() []string {
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	gap := c.LongestGap()
	return []string{text(c.Exporter.Exporter), text(strings.Join(c.Protocols, " ")), share(c.Coverage), integer(c.MinutesExpected), integer(c.MinutesObserved),
		integer(c.MissingMinutes()), strconv.Itoa(len(c.Gaps)), at(gap.From), at(gap.To), integer(c.Datagrams), integer(c.Records), integer(c.ReportedOctets), integer(c.Octets),
		integer(c.OctetsOnce), integer(c.OctetsBoth), integer(c.OctetsTransit), integer(c.OctetsUncounted), integer(c.UnknownSamplingRecords),
		text(countsText(c.Lost)), integer(c.LostOctets), text(countsText(c.Dropped)), text(countsText(c.Held))}
}

// WriteCompletenessJSON writes the exporters as a JSON array. Lists are never null.
func WriteCompletenessJSON(w io.Writer, report Report) error {
	return WritePartJSON(w, report.withoutNulls().Exporters)
}

// WritePartJSON writes a part of a report, a list, as a JSON array, indented.
func WritePartJSON[T any](w io.Writer, part []T) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(list(part))
}

// ofMonth adds the sheets about the month as a whole. A customer's report has none of them.
func (b *workbook) ofMonth(report Report) {
	if report.Unowned != nil {
		b.sheet("Unowned", []column{{"meter", 30}, {"class", 12}, {"in_octets", 20}, {"out_octets", 20}})
		for _, u := range report.Unowned {
			b.add(textCell(u.Meter), textCell(u.Class), integerCell(u.InOctets), integerCell(u.OutOctets))
		}
	}
	if report.Exporters != nil {
		b.completeness(report.Exporters)
	}
}

func (b *workbook) completeness(exporters []Completeness) {
	words := map[string]float64{"exporter": 20, "protocols": 14, "longest_gap_from": 17, "longest_gap_to": 17, "lost": 40, "dropped": 40, "held": 30}
	var columns []column
	for _, name := range strings.Split(completenessColumns, ",") {
		c := column{name: name, width: 14}
		if width, ok := words[name]; ok {
			c.width = width
		}
		columns = append(columns, c)
	}
	b.sheet("Completeness", columns)
	for _, c := range exporters {
		cells := make([]cell, len(columns))
		gap := c.LongestGap()
		for i, value := range c.texts() {
			switch name := columns[i].name; {
			case name == "coverage":
				cells[i] = cell{style: shareStyle, number: value}
			case name == "longest_gap_from" && value != "":
				cells[i] = timeCell(gap.From.UTC())
			case name == "longest_gap_to" && value != "":
				cells[i] = timeCell(gap.To.UTC())
			case words[name] > 0:
				cells[i] = textCell(value)
			default:
				cells[i] = cell{style: integerStyle, number: value}
			}
		}
		b.add(cells...)
	}
}
