package statement

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"hostmeter/aggregator/reconcile"
	"hostmeter/schemas"
)

// Reconciled is one UTC day of one service, cut at the bounds of its period: what its meters of each kind
// counted, and the verdict about the figure that bills.
type Reconciled struct {
	Customer   string    `json:"customer"`
	Service    string    `json:"service"`
	PeriodFrom time.Time `json:"period_from"`
	Day        time.Time `json:"-"`
	// Bills is the kind of meter that the contract bills; the others are its witnesses.
	Bills schemas.MeterKind `json:"bills"`
	// In and Out are as the customer sees them, also of a switch's port.
	In      Compared          `json:"in"`
	Out     Compared          `json:"out"`
	Verdict reconcile.Verdict `json:"verdict"`
	// Reason says what is outside, or which witnesses differ.
	Reason string `json:"reason"`
	// Missing says of each kind that has no figure why.
	Missing []reconcile.Missing `json:"not_compared"`
	// Released names the decision that let the period go; empty where there is none.
	Released string `json:"released"`
}

// Compared is one direction: octets of layer 3 by kind of meter, nil where there is no figure, and the band in
// which the one that bills has to lie, nil where nothing was compared.
type Compared struct {
	Address *int64          `json:"address_octets"`
	VNIC    *int64          `json:"vnic_octets"`
	Port    *int64          `json:"port_octets"`
	Band    *reconcile.Band `json:"band"`
}

// NewReconciled writes down a day that was compared.
func NewReconciled(day time.Time, d reconcile.Day, r reconcile.Result) Reconciled {
	out := Reconciled{Day: day, Bills: d.Bills, Verdict: r.Verdict, Reason: r.Reason, Missing: d.Missing}
	if out.Missing == nil {
		out.Missing = []reconcile.Missing{}
	}
	for _, f := range d.Figures {
		out.In.put(f.Kind, f.In.Octets)
		out.Out.put(f.Kind, f.Out.Octets)
	}
	if r.Verdict != reconcile.NotCompared {
		out.In.Band, out.Out.Band = &r.In, &r.Out
	}
	return out
}

func (c *Compared) put(kind schemas.MeterKind, octets uint64) {
	n := int64(octets)
	switch kind {
	case schemas.KindAddress:
		c.Address = &n
	case schemas.KindVNIC:
		c.VNIC = &n
	case schemas.KindPort:
		c.Port = &n
	}
}

// plainReconciled is a Reconciled without its methods.
type plainReconciled Reconciled

// MarshalJSON writes the day as a date.
func (r Reconciled) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		plainReconciled
		Day string `json:"day"`
	}{plainReconciled(r), r.Day.Format(time.DateOnly)})
}

// reconciledColumns are those of the CSV. Others read them by name and by place: add at the end.
const reconciledColumns = "customer,service,period_from,day,bills,address_in_octets,vnic_in_octets,port_in_octets,band_in_low,band_in_high," +
	"address_out_octets,vnic_out_octets,port_out_octets,band_out_low,band_out_high,verdict,reason,not_compared,released"

// WriteReconciledCSV writes one line a service and day. Empty are the octets of a kind without a figure, and the
// bands where nothing was compared.
func WriteReconciledCSV(w io.Writer, rows []Reconciled) error {
	return writeCSV(w, "reconciliation", reconciledColumns, func(line func(...string) error) error {
		for _, r := range rows {
			cells := []string{text(r.Customer), text(r.Service), r.PeriodFrom.Format(time.RFC3339), r.Day.Format(time.DateOnly), string(r.Bills)}
			cells = append(append(cells, r.In.cells()...), r.Out.cells()...)
			if err := line(append(cells, string(r.Verdict), text(r.Reason), text(missingWords(r.Missing)), text(r.Released))...); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c Compared) cells() []string {
	known := func(n *int64) string {
		if n == nil {
			return ""
		}
		return strconv.FormatInt(*n, 10)
	}
	cells := []string{known(c.Address), known(c.VNIC), known(c.Port), "", ""}
	if c.Band != nil {
		cells[3], cells[4] = integer(c.Band.Low), integer(c.Band.High)
	}
	return cells
}

func missingWords(list []reconcile.Missing) string {
	words := make([]string, len(list))
	for i, m := range list {
		words[i] = string(m.Kind) + ": " + m.Reason
	}
	return strings.Join(words, "; ")
}

// writeCSV writes a header and the lines that f gives it.
func writeCSV(w io.Writer, what, columns string, f func(line func(cells ...string) error) error) error {
	out := csv.NewWriter(w)
	err := out.Write(strings.Split(columns, ","))
	if err == nil {
		err = f(func(cells ...string) error { return out.Write(cells) })
	}
	out.Flush()
	if err == nil {
		err = out.Error()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", what, err)
	}
	return nil
}
