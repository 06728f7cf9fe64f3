package netflow

import "encoding/binary"

// Programs are compiled templates that decoders share, since exporters of one kind tell the same
// layouts: two thousand of them need no more than one. Decoders that share are used one at a time.
// The zero value holds none.
type Programs struct {
	known map[string]*program
	key   []byte // of the last call
}

// programsMost bounds what is remembered. Layouts can be made up: when they are too many all are
// forgotten, and those in use stay where they are used.
const programsMost = 4096

// of returns the program of a template, or tells why there can be none; see compile.
func (p *Programs) of(fields []field, options bool, version uint16) (made *program, reason Reason, ok bool) {
	p.key = binary.BigEndian.AppendUint16(p.key[:0], version)
	p.key = append(p.key, flag(options))
	for _, f := range fields {
		p.key = binary.BigEndian.AppendUint16(p.key, f.id)
		p.key = binary.BigEndian.AppendUint16(p.key, f.length)
		p.key = binary.BigEndian.AppendUint32(p.key, f.enterprise)
		p.key = append(p.key, flag(f.scope))
	}
	if known := p.known[string(p.key)]; known != nil {
		return known, 0, true
	}
	made, reason, ok = compile(fields, options, version)
	if !ok {
		return nil, reason, false
	}
	if p.known == nil || len(p.known) >= programsMost {
		p.known = make(map[string]*program)
	}
	p.known[string(p.key)] = made
	return made, 0, true
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}
