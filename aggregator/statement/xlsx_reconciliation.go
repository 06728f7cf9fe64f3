package statement

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"hostmeter/aggregator/rating"
)

// reconciledSheet has the columns of the reconciliation's CSV, with widths.
var reconciledSheet = func() []column {
	widths := map[string]float64{"customer": 16, "service": 18, "period_from": 17, "day": 12, "bills": 10, "verdict": 16, "reason": 60, "not_compared": 60, "released": 40}
	var list []column
	for _, name := range strings.Split(reconciledColumns, ",") {
		c := column{name: name, width: 20}
		if width, ok := widths[name]; ok {
			c.width = width
		}
		list = append(list, c)
	}
	return list
}()

// reconciliation writes the sheet of the days that were compared.
func (b *workbook) reconciliation(days *reconciledSpool) error {
	b.sheet("Reconciliation", reconciledSheet)
	return days.each(func(r Reconciled) { b.add(r.typedCells()...) })
}

// typedCells has one cell for each of reconciledSheet.
func (r Reconciled) typedCells() []cell {
	cells := []cell{textCell(r.Customer), textCell(r.Service), timeCell(r.PeriodFrom), dateCell(rating.DateOf(r.Day)), textCell(string(r.Bills))}
	for _, side := range []Compared{r.In, r.Out} {
		for _, octets := range side.cells() {
			cells = append(cells, cell{style: integerStyle, number: octets})
		}
	}
	return append(cells, textCell(string(r.Verdict)), textCell(r.Reason), textCell(missingWords(r.Missing)), textCell(r.Released))
}

// reconciledSpool holds days until their sheet is written, compressed: a month of a service is some two kilobytes.
// Reading the evidence once more for them would take as long as for the hours.
type reconciledSpool struct {
	text    bytes.Buffer
	deflate *flate.Writer
	lines   *json.Encoder
}

// spooledDay is a day as JSON that can be read back: Reconciled's own leaves the time of the day out.
type spooledDay struct {
	plainReconciled
	At time.Time `json:"at"`
}

func newReconciledSpool() *reconciledSpool {
	s := &reconciledSpool{}
	s.deflate, _ = flate.NewWriter(&s.text, flate.BestSpeed) // only an unknown level is an error
	s.lines = json.NewEncoder(s.deflate)
	return s
}

func (s *reconciledSpool) add(days []Reconciled) error {
	for _, r := range days {
		if err := s.lines.Encode(spooledDay{plainReconciled(r), r.Day}); err != nil {
			return fmt.Errorf("keep the reconciliation of %s: %w", r.Service, err)
		}
	}
	return nil
}

// each calls f with the days in the order in which they were added; nothing can be added after it.
func (s *reconciledSpool) each(f func(Reconciled)) error {
	if err := s.deflate.Close(); err != nil {
		return err
	}
	lines := json.NewDecoder(flate.NewReader(&s.text))
	for {
		var day spooledDay
		switch err := lines.Decode(&day); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the reconciliation back: %w", err)
		}
		r := Reconciled(day.plainReconciled)
		r.Day = day.At
		f(r)
	}
}
