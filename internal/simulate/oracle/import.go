package oracle

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Import writes the world's terms as an import file (YAML), but for the decisions, which are made one after the other.
func (w *World) Import(customers []string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "provider: {name: Example Hosting%s}\n", w.Provider)
	b.WriteString("prefixes:\n")
	for _, p := range w.Prefixes {
		fmt.Fprintf(&b, "  - {prefix: %q, exporters: [%s]}\n", p.Prefix, strings.Join(p.Exporters, ", "))
	}
	b.WriteString("prices:\n")
	for _, p := range w.Prices {
		fmt.Fprintf(&b, "  - {sku: %s, place: %s, currency: %s, from: %s, noticed: %s, per: %s, begun: %t, amount: %q}\n",
			p.SKU, p.Place, p.Currency, p.From, p.Noticed, p.Per, p.Begun, p.Amount)
	}
	b.WriteString("plans:\n")
	for _, name := range slices.Sorted(maps.Keys(w.Plans)) {
		fmt.Fprintf(&b, "  - {name: %s%s}\n", name, w.Plans[name])
	}
	b.WriteString("customers:\n")
	for _, c := range customers {
		fmt.Fprintf(&b, "  - {id: %s, name: %s Ltd}\n", c, c)
	}
	b.WriteString("services:\n")
	for _, s := range w.Services {
		fmt.Fprintf(&b, "  - {id: %s, customer: %s, plan: %s, place: %s, opened: %s%s%s%s}\n", s.ID, s.Customer, s.Plan, s.Place, s.Opened,
			optional("closed", s.Closed), optional("committed_until", s.Committed), s.Settings)
	}
	b.Write(w.Orders())
	b.WriteString("ownership:\n")
	for _, o := range w.Owned {
		until := "null"
		if !o.Until.IsZero() {
			until = o.Until.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(&b, "  - {service: %s, key: %q, from: %s, until: %s}\n", o.Service, o.Key, o.From.UTC().Format(time.RFC3339), until)
	}
	return b.Bytes()
}

// Orders writes what was ordered for running services, as a section of an import file.
func (w *World) Orders() []byte {
	var b bytes.Buffer
	title := "changes:\n"
	for _, s := range w.Services {
		for _, order := range s.Orders {
			fmt.Fprintf(&b, "%s  - {service: %s, at: %s%s%s}\n", title, s.ID, order.At.UTC().Format(time.RFC3339), optional("plan", order.Plan), optional("quota", order.Quota))
			title = ""
		}
	}
	return b.Bytes()
}

// Decided writes the decisions about all services as a section of an import file; empty where there are none.
func (w *World) Decided() []byte {
	var b bytes.Buffer
	title := "decisions:\n"
	for _, s := range w.Services {
		for _, d := range s.Decisions {
			b.WriteString(title + d.row(s.ID))
			title = ""
		}
	}
	return b.Bytes()
}

// Import writes a decision about a service as an import file.
func (d Decision) Import(service string) []byte { return []byte("decisions:\n" + d.row(service)) }

func (d Decision) row(service string) string {
	at := func(name string, at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return optional(name, at.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("  - {id: %s, service: %s, decision: %s%s%s%s%s, by: Jane Roe, reason: drawn}\n",
		d.ID, service, d.Kind, at("from", d.From), at("until", d.Until), optional("direction", d.Direction), optional("revokes", d.Revokes))
}

// String writes the settings as the rest of a row of YAML: ", quota: 10 TB, direction: max".
func (s Settings) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		b.WriteString(optional(name, s[name]))
	}
	return b.String()
}

func optional(name, text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf(", %s: %s", name, text)
}
