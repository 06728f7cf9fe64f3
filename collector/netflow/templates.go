package netflow

import (
	"encoding/binary"
	"slices"

	"hostmeter/schemas"
)

// templateSet reads a set of templates or option templates, and decodes what waited for them.
// Source: RFC 3954 sections 5.2 and 6.1; RFC 7011 section 3.4.
func (d *Decoder) templateSet(dst []schemas.FlowRecord, dom *domain, ses *session, h *header, body []byte, options bool) []schemas.FlowRecord {
	for len(body) >= 4 {
		id, count := binary.BigEndian.Uint16(body), int(binary.BigEndian.Uint16(body[2:]))
		if allZero(body) {
			return dst // padding
		}
		if h.version == 10 && count == 0 {
			d.withdraw(ses, id)
			body = body[4:]
			continue
		}
		fields, rest, ok := d.readFields(h.version, body, options)
		if !ok || id < 256 {
			d.stats.Dropped[DroppedTemplateInvalid]++
			return dst
		}
		body = rest
		dst = d.define(dst, dom, ses, h, id, fields, options)
	}
	return dst
}

// readFields reads one template's fields into a buffer that the next call uses again.
func (d *Decoder) readFields(version uint16, b []byte, options bool) (fields []field, rest []byte, ok bool) {
	count, scopes := int(binary.BigEndian.Uint16(b[2:])), 0
	switch {
	case !options:
		b = b[4:]
	case len(b) < 6:
		return nil, nil, false
	case version == 9: // lengths in octets of the scopes and of the options
		scopes, count = count/4, count/4+int(binary.BigEndian.Uint16(b[4:]))/4
		b = b[6:]
	default:
		scopes = int(binary.BigEndian.Uint16(b[4:]))
		b = b[6:]
	}
	fields = d.fields[:0]
	for i := range count {
		if len(b) < 4 {
			return nil, nil, false
		}
		f := field{id: binary.BigEndian.Uint16(b), length: binary.BigEndian.Uint16(b[2:]), scope: i < scopes}
		b = b[4:]
		if version == 10 && f.id&0x8000 != 0 {
			if len(b) < 4 {
				return nil, nil, false
			}
			f.id, f.enterprise = f.id&0x7fff, binary.BigEndian.Uint32(b)
			b = b[4:]
		}
		fields = append(fields, f)
	}
	d.fields = fields
	return fields, b, true
}

// define takes a template into its session. A refresh changes nothing; another layout replaces the
// old one for what comes from now on.
func (d *Decoder) define(dst []schemas.FlowRecord, dom *domain, ses *session, h *header, id uint16, fields []field, options bool) []schemas.FlowRecord {
	d.stats.Templates++
	if known := ses.templates[id]; known != nil {
		if known.program.options == options && slices.Equal(known.program.fields, fields) {
			known.refreshed(ses.hours)
			d.use(ses, known, h.receivedAt)
			return d.unhold(dst, dom, id, h.receivedAt) // what waits because another layout was alive
		}
	}
	d.forget(ses, id) // its data no longer has that layout, even if this one is refused
	p, why, ok := d.programs.of(fields, options, h.version)
	if !ok {
		d.stats.Templates--
		d.stats.Dropped[why]++
		return dst
	}
	if len(fields) > d.limits.FieldsPerTemplate || !d.room(ses, len(fields), h.receivedAt) ||
		d.fieldsTotal()+len(fields) > d.limits.FieldsTotal {
		d.stats.Templates--
		d.stats.Dropped[DroppedTemplateLimit]++
		return dst
	}
	ses.templates[id] = &template{program: p, seen: h.receivedAt, used: ses.hours, told: ses.hours}
	ses.fields += len(fields)
	d.revision++
	return d.unhold(dst, dom, id, h.receivedAt)
}

// fieldsTotal counts the fields of all templates; new templates are rare.
func (d *Decoder) fieldsTotal() (n int) {
	for _, dom := range d.domains {
		for _, ses := range dom.sessions {
			n += ses.fields
		}
	}
	return n
}

// withdraw forgets a template, or all of a kind (ids 2 and 3). UDP exporters should not withdraw;
// one that does means it, and its data waits for the next template instead of being misread.
func (d *Decoder) withdraw(ses *session, id uint16) {
	if id != 2 && id != 3 {
		if d.forget(ses, id) {
			d.stats.Withdrawals++
		}
		return
	}
	for known, t := range ses.templates {
		if t.program.options == (id == 3) && d.forget(ses, known) {
			d.stats.Withdrawals++
		}
	}
}

func allZero(b []byte) bool {
	for _, octet := range b {
		if octet != 0 {
			return false
		}
	}
	return true
}
