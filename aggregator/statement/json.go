package statement

import (
	"encoding/json"
	"fmt"
	"io"

	"hostmeter/aggregator/rating"
)

// WriteJSON writes the report as one JSON object, indented, with a line feed at its end. Octets are
// numbers; quantities and money are texts, because a reader that takes numbers for floats would change
// them. Lists are never null.
func WriteJSON(w io.Writer, report Report) error {
	report = report.withoutNulls()
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(report); err != nil {
		return fmt.Errorf("write report of %s: %w", report.Month, err)
	}
	return nil
}

func (r Report) withoutNulls() Report {
	rows := make([]Row, len(r.Rows))
	copy(rows, r.Rows)
	for i := range rows {
		if rows[i].Missing == nil {
			rows[i].Missing = []string{}
		}
	}
	r.Rows = rows
	if r.Totals == nil {
		r.Totals = []Total{}
	}
	if r.Unowned == nil {
		r.Unowned = []Unowned{}
	}
	if r.Problems == nil {
		r.Problems = []Problem{}
	}
	exporters := make([]Completeness, len(r.Exporters))
	for i, c := range r.Exporters {
		exporters[i] = c.withoutNulls()
	}
	r.Exporters = exporters
	return r
}

// MarshalJSON writes coverage as null where it is not known, money with all digits of its currency, and no
// list as an empty one.
func (r Row) MarshalJSON() ([]byte, error) {
	if r.Classes == nil {
		r.Classes = []rating.ClassUsage{}
	}
	if r.Rules == nil {
		r.Rules = []rating.Rule{}
	}
	type plain Row // without this method
	out := struct {
		plain
		Coverage    *float64 `json:"coverage"`
		UnitPrice   *string  `json:"unit_price"`
		AmountExVAT string   `json:"amount_ex_vat"`
		Quota       *string  `json:"quota"`
	}{plain: plain(r), AmountExVAT: Money(r.AmountExVAT, r.Currency)}
	if r.Coverage >= 0 {
		out.Coverage = &r.Coverage
	}
	if r.PriceUnit != "" {
		price := UnitPrice(r.UnitPrice, r.Currency)
		out.UnitPrice = &price
	}
	if !r.Unlimited {
		quota := r.Quota.String()
		out.Quota = &quota
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Row) UnmarshalJSON(data []byte) error {
	type plain Row
	in := struct {
		*plain
		Coverage *float64 `json:"coverage"`
	}{plain: (*plain)(r)}
	*in.plain = plain{}
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	r.Coverage = -1
	if in.Coverage != nil {
		r.Coverage = *in.Coverage
	}
	return nil
}

// MarshalJSON writes the amount with all digits of its currency.
func (t Total) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Currency    string `json:"currency"`
		AmountExVAT string `json:"amount_ex_vat"`
	}{t.Currency, Money(t.AmountExVAT, t.Currency)})
}
