package simulate

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"hostmeter/schemas"
)

// flow is what an exporter will state: one record, or one sFlow sample.
type flow struct {
	source, destination         netip.Addr
	sourcePort, destinationPort uint16
	protocol, flags             uint8
	in, out                     schemas.IfIndex // interfaces of the exporter
	start, end                  int64           // Unix milliseconds; a sample's are equal
	octets, packets             uint64          // layer 3, as stated: not multiplied
	from, to                    *meter          // the local ends, nil where an end is not local
}

// IP protocol numbers and TCP flags that the traffic uses.
const (
	protocolTCP = 6
	protocolUDP = 17
	flagsWhole  = 0x1b // FIN, SYN, PSH, ACK: a connection that was used and closed
	flagsSYN    = 0x02
)

// packetMix is the true make-up of a flow: big packets, and small ones that acknowledge.
type packetMix struct {
	big, small uint64
	bigOctets  uint64
}

const smallOctets = 52

func (m packetMix) octets() uint64  { return m.big*m.bigOctets + m.small*smallOctets }
func (m packetMix) packets() uint64 { return m.big + m.small }

// mixOf makes about octets of traffic, at least one packet.
func mixOf(rng *rand.Rand, octets uint64) packetMix {
	size := 1100 + rng.Uint64N(401)
	big := max(octets/(size+smallOctets/4), 1)
	return packetMix{big: big, small: big / 4, bigOctets: size}
}

// hourWeights is the rhythm of a day in the provider's zone, in percent of the mean.
var hourWeights = [24]uint64{
	52, 44, 40, 38, 38, 44, 56, 76, 96, 108, 116, 120, 122, 120, 118, 120, 124, 132, 144, 156, 158, 140, 110, 76,
}

const hourWeightsSum = 2348

// weekendPercent and weekdayPercent keep the mean of a week at 100.
const weekendPercent, weekdayPercent = 80, 108

// appetite is how much of its mean a demand takes at a time.
func (p *Provider) appetite(rng *rand.Rand, d demand, mean uint64, at time.Time) uint64 {
	if d.steady {
		return mean / 100 * (95 + rng.Uint64N(11))
	}
	local := at.In(p.zone)
	day := uint64(weekdayPercent)
	if wd := local.Weekday(); wd == time.Saturday || wd == time.Sunday {
		day = weekendPercent
	}
	return mean * hourWeights[local.Hour()] / hourWeightsSum * 24 / 100 * day / 100 * (50 + rng.Uint64N(101))
}

// span is one stretch of traffic that is decided at once: ten minutes of the past, or two seconds of
// the live phase. All its flows lie within it and are told within it, so that no flow crosses a
// bound that money depends on: those all lie on multiples of ten minutes.
type span struct {
	from   time.Time
	length time.Duration
	flush  time.Duration // time between two datagrams
	live   bool
}

func (s span) end() time.Time { return s.from.Add(s.length) }

// lastFlow is when all its flows have ended, in Unix milliseconds: one flush before the end of ten minutes,
// so that everything is told before the span ends.
func (s span) lastFlow() int64 {
	if s.live {
		return s.end().UnixMilli() - 1
	}
	return s.end().Add(-s.flush).UnixMilli() - 1
}

// generate decides what all meters of an exporter do in a span.
func (p *Provider) generate(e *exporter, s span) {
	for i, m := range e.meters {
		d, ok := m.demandAt(s.from)
		if !ok {
			continue
		}
		scale := uint64(TickEvery / s.length)
		out, in := p.appetite(e.rng, d, d.out, s.from)/scale, p.appetite(e.rng, d, d.in, s.from)/scale
		length := s.lengthOf(e.rng, out+in)
		if length > activeTimeout.Milliseconds() { // one conversation on the heels of the other
			first, half := s.from.UnixMilli(), s.from.UnixMilli()+activeTimeout.Milliseconds()
			p.converse(e, m, first, half-1000+e.rng.Int64N(900), out/2, in/2)
			p.converse(e, m, half, s.lastFlow(), out-out/2, in-in/2)
			continue
		}
		start := s.startOf(e.rng, length, i, len(e.meters))
		p.converse(e, m, start, start+length, out, in)
	}
	p.backups(e, s)
	p.passThrough(e, s)
	if s.live {
		p.abuse(e, s)
	}
	slices.SortStableFunc(e.pending, func(a, b flow) int { return int(a.end - b.end) })
}

// paceMax is how fast a conversation is at most, in octets per millisecond: about 100 Mbit/s. Whoever has more
// to say takes longer.
const paceMax = 12_000

// lengthOf draws how long a conversation about some octets goes on, in milliseconds. It is more than the active
// timeout where it fills the span.
func (s span) lengthOf(rng *rand.Rand, octets uint64) int64 {
	if s.live {
		return s.length.Milliseconds() - 400 - rng.Int64N(400)
	}
	return max(60_000+rng.Int64N(60_000), int64(octets/paceMax))
}

// startOf draws when a conversation begins. The meters of an exporter take turns, so that it is never
// silent for long: silence would look like blindness.
func (s span) startOf(rng *rand.Rand, length int64, turn, of int) int64 {
	room := s.lastFlow() - s.from.UnixMilli() - length
	return s.from.UnixMilli() + room*int64(turn)/int64(of) + rng.Int64N(room/int64(of)+1)
}

// stretch draws the time of something that has no turn.
func (s span) stretch(rng *rand.Rand) (start, end int64) {
	length := s.lengthOf(rng, 0)
	start = s.startOf(rng, length, 0, 1)
	return start, start + length
}

// converse makes the two directions of one conversation between a meter and somebody outside.
func (p *Provider) converse(e *exporter, m *meter, start, end int64, outOctets, inOctets uint64) {
	rng := e.rng
	peer := remoteOf(rng, m.address)
	port, protocol, flags := uint16(443), uint8(protocolTCP), uint8(flagsWhole)
	if rng.IntN(7) == 0 {
		port, protocol, flags = 4500, protocolUDP, 0
	}
	far := uint16(20000 + rng.IntN(40000))
	p.carry(e, flow{
		source: m.address, destination: peer, sourcePort: port, destinationPort: far, protocol: protocol, flags: flags,
		in: m.port, out: uplink, start: start, end: end, from: m,
	}, outOctets)
	p.carry(e, flow{
		source: peer, destination: m.address, sourcePort: far, destinationPort: port, protocol: protocol, flags: flags,
		in: uplink, out: m.port, start: start, end: end, to: m,
	}, inOctets)
}

// flowLimit is the most that one flow carries: NetFlow v5 counts in 32 bits.
const flowLimit = 3_000_000_000

// carry cuts an amount into flows that the wire format can hold and lets them happen.
func (p *Provider) carry(e *exporter, f flow, octets uint64) {
	for octets > 0 {
		part := min(octets, flowLimit)
		octets -= part
		p.happen(e, f, mixOf(e.rng, part))
		f.sourcePort++
	}
}

// happen books the truth of a flow, samples it as the exporter does, and leaves to the exporter
// what it will state.
func (p *Provider) happen(e *exporter, f flow, mix packetMix) {
	p.books.happened(&f, mix, p.half)
	if e.sources != nil {
		e.crossed(&f, mix)
	}
	rate := uint64(e.SamplingRate)
	big, small := mix.big, mix.small
	if rate > 1 {
		big, small = binomial(e.rng, big, rate), binomial(e.rng, small, rate)
	}
	if big+small == 0 {
		return
	}
	if e.Protocol == schemas.SFlow5 {
		p.samples(e, f, mix, big, small)
		return
	}
	f.octets, f.packets = big*mix.bigOctets+small*smallOctets, big+small
	e.pending = append(e.pending, f)
}

// samples leaves one sample for each sampled packet, at a time of its own within the flow.
func (p *Provider) samples(e *exporter, f flow, mix packetMix, big, small uint64) {
	start, length := f.start, f.end-f.start
	for i := range big + small {
		f.octets, f.packets = mix.bigOctets, 1
		if i >= big {
			f.octets = smallOctets
		}
		f.start = start + e.rng.Int64N(length+1)
		f.end = f.start
		e.pending = append(e.pending, f)
	}
}

// backups carries the nightly backups between two servers of the house.
func (p *Provider) backups(e *exporter, s span) {
	if hour := s.from.Hour(); s.live || hour < 2 || hour >= 4 {
		return
	}
	for _, m := range e.meters {
		if m.neighbour == nil {
			continue
		}
		start, end := s.stretch(e.rng)
		p.carry(e, flow{
			source: m.address, destination: m.neighbour.address, sourcePort: 30022, destinationPort: 873, protocol: protocolTCP,
			flags: flagsWhole, in: m.port, out: m.neighbour.port, start: start, end: end, from: m, to: m.neighbour,
		}, 800_000_000+e.rng.Uint64N(400_000_000))
	}
}

// passThrough carries what only crosses the provider's network, on one exporter.
func (p *Provider) passThrough(e *exporter, s span) {
	if e.Name != exporterTable[coreV9].name || s.live {
		return
	}
	start, end := s.stretch(e.rng)
	outside := netip.AddrFrom4([4]byte{198, 18, 0, 1})
	p.carry(e, flow{
		source: remoteOf(e.rng, outside), destination: outside, sourcePort: 443, destinationPort: 40123, protocol: protocolTCP,
		flags: flagsWhole, in: uplink, out: uplink + 1, start: start, end: end,
	}, 1_000_000+e.rng.Uint64N(9_000_000))
}

// remoteOf draws an address of the outside, of the family of the inside one. The blocks are those
// that were set apart for measurements: they are nobody's.
func remoteOf(rng *rand.Rand, inside netip.Addr) netip.Addr {
	n := rng.Uint32N(1 << 17)
	if inside.Is6() {
		var a [16]byte
		copy(a[:], []byte{0x20, 0x01, 0x00, 0x02})
		a[13], a[14], a[15] = byte(n>>16), byte(n>>8), byte(n)
		return netip.AddrFrom16(a)
	}
	return netip.AddrFrom4([4]byte{198, 18 + byte(n>>16), byte(n >> 8), byte(n)})
}
