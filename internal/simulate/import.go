package simulate

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// Import returns the import file (YAML) with prefixes, prices, plans, customers, services, ownership,
// orders and decisions.
func (p *Provider) Import() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "provider: {name: Example Hosting, time_zone: %s, currency: GBP}\n", zoneName)
	p.importPrefixes(&b)
	b.WriteString("prices:\n")
	for _, r := range prices {
		fmt.Fprintf(&b, "  - {sku: %s, place: %s, currency: %s, from: %s, noticed: %s, per: %s, begun: %t, amount: %q}\n",
			r.SKU, r.Place, r.Currency, r.From, r.Noticed, r.Per, r.Begun, r.Amount)
	}
	b.WriteString("plans:\n")
	for _, pl := range plans {
		fmt.Fprintf(&b, "  - {name: %s, class: %s%s}\n", pl.name, pl.class, pl.settings())
	}
	b.WriteString("customers:\n")
	for _, c := range p.customers {
		reseller := "null"
		if c.reseller != "" {
			reseller = c.reseller
		}
		fmt.Fprintf(&b, "  - {id: %s, name: %s, email: %s, reseller: %s}\n", c.id, c.name, c.email, reseller)
	}
	p.importServices(&b)
	b.Write(p.world().Orders())
	b.Write(p.world().Decided())
	return b.Bytes()
}

func (p *Provider) importPrefixes(b *bytes.Buffer) {
	b.WriteString("prefixes:\n")
	for _, e := range p.exporters {
		for _, prefix := range e.Prefixes {
			fmt.Fprintf(b, "  - {prefix: %q, exporters: [%s]}\n", prefix, e.Address)
		}
	}
}

func (p *Provider) importServices(b *bytes.Buffer) {
	b.WriteString("services:\n")
	for _, s := range p.services {
		closed := ""
		if s.closed != "" {
			closed = ", closed: " + s.closed
		}
		fmt.Fprintf(b, "  - {id: %s, customer: %s, plan: %s, place: %s, opened: %s, bills: address%s%s}\n",
			s.id, s.customer.id, s.plan.name, s.place, s.opened.Format(time.DateOnly), closed, s.settings())
	}
	b.WriteString("ownership:\n")
	for _, o := range p.owners {
		until := "null"
		if !o.until.IsZero() {
			until = o.until.Format(time.RFC3339)
		}
		fmt.Fprintf(b, "  - {service: %s, key: %q, from: %s, until: %s}\n", o.service.id, o.key, o.from.Format(time.RFC3339), until)
	}
	for _, h := range p.hosts { // CPU and vNIC: witnesses, and who is to be told of an alarm
		for _, g := range h.guests {
			from := p.openedOf(g.Service).UTC().Format(time.RFC3339)
			fmt.Fprintf(b, "  - {service: %s, key: %q, from: %s, until: null}\n", g.Service, "guest:"+strings.ToLower(g.UUID), from)
		}
	}
}

func (p *Provider) openedOf(id string) time.Time {
	for _, s := range p.services {
		if s.id == id {
			return s.opened
		}
	}
	return p.begin
}
