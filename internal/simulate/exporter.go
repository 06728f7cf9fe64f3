package simulate

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"hostmeter/schemas"
)

// exporter is one device that watches its prefixes and tells what it saw.
type exporter struct {
	Exporter
	domain    uint32
	rng       *rand.Rand
	boot      int64 // Unix milliseconds, on a whole second
	sequence  uint32
	from      netip.AddrPort
	meters    []*meter
	free      netip.Addr // next address to give out
	pending   []flow     // in order of end, not yet told
	templates time.Time  // when they were last told
	book      *ExporterBook

	// sFlow keeps a pool and a sequence for each data source, and counters for each port.
	sources map[schemas.IfIndex]*dataSource
}

// The addresses and the wire formats of the exporters.
var exporterTable = []struct {
	name     string
	protocol schemas.Protocol
	rate     uint32
	prefixes []string
	domain   uint32
}{
	{"edge-1", schemas.NetFlow5, 1, []string{"192.0.2.0/25"}, 1},
	{"core-1", schemas.NetFlow9, 1, []string{"192.0.2.128/25"}, 7},
	{"core-2", schemas.IPFIX, 1, []string{"198.51.100.0/25", "2001:db8::/32"}, 42},
	{"border-1", schemas.NetFlow9, 100, []string{"198.51.100.128/25"}, 0},
	{"access-1", schemas.SFlow5, 512, []string{"203.0.113.0/25"}, 0},
	{"edge-2", schemas.NetFlow5, 64, []string{"203.0.113.128/25"}, 2},
}

const (
	edgeV5 = iota
	coreV9
	coreIPFIX
	borderSampled
	accessSFlow
	edgeSampled
)

// Interfaces to the outside.
const uplink = 1

// activeTimeout bounds how long a flow lasts; flows are told at most flushEvery after their end.
const (
	activeTimeout = 5 * time.Minute
	flushEvery    = 15 * time.Second
)

func (p *Provider) layExporters() {
	for i, row := range exporterTable {
		address := netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)})
		sampling := "auto"
		if row.rate == 1 {
			sampling = "none"
		}
		e := &exporter{
			Exporter: Exporter{
				Address: address, Name: row.name, Protocol: row.protocol, Mode: "single",
				Sampling: sampling, SamplingRate: row.rate, ActiveTimeout: activeTimeout,
			},
			domain: row.domain,
			rng:    p.rng(row.name),
			// Uptimes of 32 bits of milliseconds wrap after 49.7 days: one of them does in the past that is played.
			boot: p.begin.Add(-time.Duration(36*(i+1)) * 24 * time.Hour).UnixMilli(),
			from: netip.AddrPortFrom(address, uint16(40000+i)),
			book: &ExporterBook{},
		}
		if row.protocol == schemas.SFlow5 {
			e.sources = map[schemas.IfIndex]*dataSource{}
		}
		e.sequence = e.rng.Uint32() // as if it had run for long; a wrap is nothing special
		for _, text := range row.prefixes {
			e.Prefixes = append(e.Prefixes, netip.MustParsePrefix(text))
		}
		e.free = e.Prefixes[0].Addr().Next()
		p.books.exporters[address] = e.book
		p.exporters = append(p.exporters, e)
	}
}

// nextAddress gives out the exporter's next free IPv4 address.
func (e *exporter) nextAddress() netip.Prefix {
	given := e.free
	e.free = e.free.Next()
	return netip.PrefixFrom(given, 32)
}
