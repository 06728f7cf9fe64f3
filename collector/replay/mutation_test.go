package replay

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"hostmeter/collector/netflow"
	"hostmeter/collector/netflow/netflowtest"
	"hostmeter/collector/sflow"
	"hostmeter/schemas"
)

// datagramsOf are the payloads of one of a capture's protocols.
func datagramsOf(t *testing.T, c *captureCase, wanted func(schemas.Protocol) bool) (out [][]byte) {
	t.Helper()
	r := newRun(Options{})
	r.take = func(_ netip.AddrPort, _ time.Time, payload []byte) {
		if protocol, ok := Recognise(payload); ok && wanted(protocol) {
			out = append(out, append([]byte(nil), payload...))
		}
	}
	for _, file := range c.inputs() {
		if err := r.file(file); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// spoiled calls try with a datagram as it is, cut off behind every octet, and with lengths, counts and
// other octets changed; the seed is fixed.
func spoiled(datagram []byte, try func([]byte)) {
	try(datagram)
	for n := range datagram {
		try(datagram[:n])
	}
	random := rand.New(rand.NewPCG(uint64(len(datagram)), 7))
	b := make([]byte, len(datagram))
	for range 400 {
		copy(b, datagram)
		for range 1 + random.IntN(3) {
			at := random.IntN(len(b))
			if random.IntN(3) == 0 {
				at = random.IntN(min(len(b), 48)) // headers, counts and the first lengths
			}
			switch random.IntN(5) {
			case 0:
				b[at] = 0
			case 1:
				b[at] = 0xff
			case 2:
				b[at] += byte(random.IntN(9)) - 4
			case 3:
				b[at] ^= 1 << random.IntN(8)
			default:
				b[at] = byte(random.Uint32())
			}
		}
		try(b)
	}
}

// few leaves some datagrams of a capture, of different lengths, the first ones among them.
func few(datagrams [][]byte, most int) (out [][]byte) {
	seen := map[int]bool{}
	for _, d := range datagrams {
		if len(out) < most && !seen[len(d)] && len(d) > 0 {
			seen[len(d)] = true
			out = append(out, d)
		}
	}
	return out
}

// slowest is how long one datagram may take, on a busy machine.
const slowest = 2 * time.Second

// TestSpoiledNetFlow reads the captures' datagrams cut off behind every octet and with octets changed:
// the decoder ends, keeps to what its slow twin reads, and has a reason for what it does not.
func TestSpoiledNetFlow(t *testing.T) {
	limits := netflow.DefaultLimits()
	limits.HeldOctets = 0 // the twin holds nothing
	limits.FieldsPerTemplate, limits.FieldsPerDomain, limits.FieldsTotal, limits.TemplatesPerDomain = 1<<30, 1<<30, 1<<30, 1<<30
	limits.Domains = 1 << 20
	from, at := netip.MustParseAddrPort("192.0.2.1:2055"), time.Unix(1_790_000_000, 0)
	read := 0
	for _, c := range loadCaptures(t) {
		datagrams := datagramsOf(t, &c, func(p schemas.Protocol) bool { return p != schemas.SFlow5 })
		d, slow := netflow.NewDecoder(limits), new(netflowtest.Slow)
		var records []schemas.FlowRecord
		for _, datagram := range few(datagrams, 10) {
			spoiled(datagram, func(b []byte) {
				begun := time.Now()
				var err error
				records, err = d.Decode(records[:0], from, at, b)
				if took := time.Since(begun); took > slowest {
					t.Fatalf("%s: %d octets took %s", c.ID, len(b), took)
				}
				read++
				if len(b) >= 2 && b[1] == 5 {
					if err == nil && len(records) != int(b[2])<<8|int(b[3]) {
						t.Fatalf("%s: %d records of v5, its count says otherwise", c.ID, len(records))
					}
					return
				}
				want := slow.Decode(b)
				if len(records) != len(want) {
					t.Fatalf("%s: %d records, the slow twin has %d, of\n%x", c.ID, len(records), len(want), b)
				}
				for i := range want {
					got, w := &records[i], &want[i]
					if got.Source != w.Source || got.Destination != w.Destination || !w.Stateful && !w.Section &&
						(got.Octets != w.Octets || got.Packets != w.Packets || got.ReverseOctets != w.ReverseOctets) {
						t.Fatalf("%s, record %d:\ngot  %+v\nslow %+v", c.ID, i, *got, w.FlowRecord)
					}
				}
			})
		}
	}
	t.Logf("%d datagrams", read)
}

// TestSpoiledSFlow does the same with sFlow, where a datagram stands alone.
func TestSpoiledSFlow(t *testing.T) {
	at := time.Unix(1_790_000_000, 0)
	read := 0
	for _, c := range loadCaptures(t) {
		datagrams := datagramsOf(t, &c, func(p schemas.Protocol) bool { return p == schemas.SFlow5 })
		d := sflow.NewDecoder(sflow.DefaultLimits())
		var records []schemas.FlowRecord
		for _, datagram := range few(datagrams, 50) {
			spoiled(datagram, func(b []byte) {
				before := *d.Stats()
				begun := time.Now()
				records, _ = d.Decode(records[:0], at, b)
				if took := time.Since(begun); took > slowest {
					t.Fatalf("%s: %d octets took %s", c.ID, len(b), took)
				}
				read++
				after := d.Stats()
				if after.Records-before.Records != uint64(len(records)) || len(records)*40 > len(b) || len(d.Counters())*88 > len(b) {
					t.Fatalf("%s: %d records and %d counters out of %d octets", c.ID, len(records), len(d.Counters()), len(b))
				}
				for i := range records {
					if r := &records[i]; r.OctetsL2 != 0 && r.Octets > r.OctetsL2 && r.OctetsL2 > 1500 {
						t.Fatalf("%s: %d octets in a frame of %d", c.ID, r.Octets, r.OctetsL2)
					}
				}
			})
		}
	}
	t.Logf("%d datagrams", read)
}
