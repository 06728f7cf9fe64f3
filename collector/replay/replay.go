package replay

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"hostmeter/collector/netflow"
	"hostmeter/collector/sflow"
	"hostmeter/collector/tally"
	"hostmeter/schemas"
)

// Run replays files in the order given: pcap and pcapng captures, or raw UDP payloads. Sampling is
// automatic, and a rate that is told anywhere counts for what came before it; the accounting mode is
// single.
//
// Errors: those of reading a file, with its name. Packets that hold none of the four protocols, and
// files that are neither capture nor datagram, are counted as skipped.
func Run(files []string, opts Options) (Result, error) {
	r := newRun(opts)
	for _, name := range files {
		if err := r.file(name); err != nil {
			return Result{}, err
		}
	}
	return r.finish(), nil
}

// Feed replays datagrams that are in memory already: each yields the sender, the time of receipt and
// the payload, which may be used again afterwards.
func Feed(opts Options, datagrams func(yield func(from netip.AddrPort, at time.Time, payload []byte))) Result {
	r := newRun(opts)
	datagrams(r.datagram)
	return r.finish()
}

// run is one replay at work.
type run struct {
	options   Options
	take      func(from netip.AddrPort, at time.Time, payload []byte) // what is done with a datagram
	table     *tally.Table
	sources   map[sourceKey]*source
	last      *source
	fragments fragments
	records   []schemas.FlowRecord
	addresses map[string]*Address
	result    Result
}

type sourceKey struct {
	exporter netip.Addr
	protocol schemas.Protocol
}

// source is one exporter and protocol.
type source struct {
	key     sourceKey
	handle  *tally.Exporter
	netflow *netflow.Decoder
	sflow   *sflow.Decoder
	layer2  map[layer2Key]uint64 // unscaled octets
	sums    Exporter
}

// layer2Key is a rate, or what waits for one.
type layer2Key struct {
	numerator, denominator uint32
	held                   tally.HeldKey
}

// drainAt is how many cells of the table are summed up at a time.
const drainAt = 1 << 17

func newRun(opts Options) *run {
	if !opts.Exporter.IsValid() {
		opts.Exporter = netip.AddrFrom4([4]byte{192, 0, 2, 1})
	}
	config := tally.DefaultConfig()
	config.Local = opts.Local
	if len(config.Local) == 0 {
		config.Local = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	}
	config.EachAddress, config.NoDetail = true, true
	config.Cells = 1 << 30 // the capture bounds it
	r := &run{
		options: opts, table: tally.New(config),
		sources: make(map[sourceKey]*source), addresses: make(map[string]*Address),
	}
	r.take = r.datagram
	return r
}

// limits let data wait for its template as long as the capture lasts.
func limits() netflow.Limits {
	l := netflow.DefaultLimits()
	l.HeldOctets = 256 << 20
	l.HeldAge = 100 * 365 * 24 * time.Hour
	l.RunningFlows = 1 << 20
	return l
}

func (r *run) sourceOf(exporter netip.Addr, protocol schemas.Protocol) *source {
	key := sourceKey{exporter, protocol}
	if r.last != nil && r.last.key == key {
		return r.last
	}
	s := r.sources[key]
	if s == nil {
		s = &source{key: key, layer2: make(map[layer2Key]uint64)}
		s.handle = r.table.Exporter(tally.ExporterConfig{Address: exporter, Protocol: protocol, Mode: tally.ModeSingle})
		if protocol == schemas.SFlow5 {
			s.sflow = sflow.NewDecoder(sflow.DefaultLimits())
		} else {
			s.netflow = netflow.NewDecoder(limits())
		}
		r.sources[key] = s
	}
	r.last = s
	return s
}

// datagram sends one UDP payload through the decoder of its exporter and into the table.
func (r *run) datagram(from netip.AddrPort, at time.Time, payload []byte) {
	protocol, ok := Recognise(payload)
	if !ok {
		r.result.Skipped++
		return
	}
	r.result.Datagrams++
	s := r.sourceOf(from.Addr().Unmap(), protocol)
	// An error is counted by the decoder, with its reason.
	if s.sflow != nil {
		r.records, _ = s.sflow.Decode(r.records[:0], at, payload)
	} else {
		r.records, _ = s.netflow.Decode(r.records[:0], from, at, payload)
	}
	for i := range r.records {
		rec := &r.records[i]
		if rec.OctetsL2 != 0 {
			s.addLayer2(rec)
		}
	}
	r.table.AddAll(s.handle, r.records, at)
	if r.table.Len() >= drainAt {
		r.drain()
	}
}

func (s *source) addLayer2(rec *schemas.FlowRecord) {
	key := layer2Key{numerator: rec.SamplingNumerator, denominator: rec.SamplingDenominator}
	if rec.SamplingOrigin == schemas.SamplingUnknown {
		key = layer2Key{held: tally.HeldKey{Domain: rec.ObservationDomain, SamplerID: rec.SamplerID, InInterface: rec.InInterface}}
	}
	s.layer2[key] += rec.OctetsL2
}

// drain adds the table's tallies into the result.
func (r *run) drain() {
	accounts := r.table.Flush(true, func(t *schemas.Tally) {
		a := r.addresses[t.Meter]
		if a == nil {
			prefix, _ := schemas.MeterID(t.Meter).Prefix()
			a = &Address{Address: prefix.Addr().String()}
			r.addresses[t.Meter] = a
		}
		a.InOctets += t.In.GetOctets()
		a.InPackets += t.In.GetPackets()
		a.OutOctets += t.Out.GetOctets()
		a.OutPackets += t.Out.GetPackets()
	})
	for _, a := range accounts {
		exporter, err := netip.ParseAddr(a.Exporter)
		if err != nil {
			continue // the table names exporters by their address
		}
		s := r.sources[sourceKey{exporter, schemas.Protocol(a.Protocol)}]
		s.sums.Records += a.Records
		s.sums.ReportedOctets += a.ReportedOctets
		s.sums.ReportedPackets += a.ReportedPackets
		s.sums.Octets += a.Octets
		s.sums.Packets += a.Packets
		s.sums.UnknownSamplingRecords += a.UnknownSamplingRecords
		addCounts(&s.sums.Dropped, a.Dropped, reasonOf)
	}
}

func reasonOf(c *schemas.Count) string { return c.Reason }

func unitOf(c *schemas.Count) string { return c.Unit }

// heldName keeps the sets and the octets of what waits apart.
func heldName(c *schemas.Count) string {
	if c.Unit == "octets" {
		return c.Reason + "_octets"
	}
	return c.Reason
}

func addCounts(sums *map[string]int64, counts []*schemas.Count, name func(*schemas.Count) string) {
	if *sums == nil {
		*sums = make(map[string]int64)
	}
	for _, c := range counts {
		(*sums)[name(c)] += c.Count
	}
}

// finish gives what waited for a sampling rate the one that was told, or 1, and sums up.
func (r *run) finish() Result {
	for _, s := range r.sources {
		for _, key := range r.table.Held(s.handle) {
			n, d, origin := s.rateFor(key)
			r.table.ScaleHeld(s.handle, key, n, d, origin)
		}
	}
	r.drain()
	r.result.Skipped += r.fragments.incomplete()
	r.result.Exporters, r.result.Addresses = []Exporter{}, []Address{}
	keys := make([]sourceKey, 0, len(r.sources))
	for key := range r.sources {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b sourceKey) int {
		return cmp.Or(a.exporter.Compare(b.exporter), cmp.Compare(a.protocol, b.protocol))
	})
	for _, key := range keys {
		r.result.Exporters = append(r.result.Exporters, r.sources[key].finish())
	}
	for _, a := range r.addresses {
		r.result.Addresses = append(r.result.Addresses, *a)
	}
	slices.SortFunc(r.result.Addresses, func(a, b Address) int {
		x, _ := netip.ParseAddr(a.Address)
		y, _ := netip.ParseAddr(b.Address)
		return x.Compare(y)
	})
	return r.result
}

func (s *source) rateFor(key tally.HeldKey) (numerator, denominator uint32, origin schemas.SamplingOrigin) {
	if s.netflow != nil {
		if n, d, ok := s.netflow.SamplingFor(key.Domain, key.SamplerID, key.InInterface); ok {
			return n, d, schemas.SamplingOption
		}
	}
	return 1, 1, schemas.SamplingUnknown
}

func (s *source) finish() Exporter {
	e := s.sums
	e.Exporter, e.Protocol = s.key.exporter.String(), string(s.key.protocol)
	e.Held, e.Lost = make(map[string]int64), make(map[string]int64)
	if s.sflow != nil {
		stats := s.sflow.Stats()
		e.Datagrams, e.CounterSamples = stats.Datagrams(), stats.CounterSamples
		addCounts(&e.Dropped, stats.DroppedCounts(), reasonOf)
		addCounts(&e.Lost, stats.LostCounts(), unitOf)
	} else {
		stats := s.netflow.Stats()
		e.Datagrams, e.OptionRecords, e.Templates = stats.Datagrams(), stats.OptionRecords, stats.Templates
		addCounts(&e.Dropped, stats.DroppedCounts(), reasonOf)
		addCounts(&e.Held, stats.HeldCounts(), heldName)
		addCounts(&e.Lost, stats.LostCounts(), unitOf)
	}
	for key, octets := range s.layer2 {
		n, d := key.numerator, key.denominator
		if n == 0 || d == 0 {
			n, d, _ = s.rateFor(key.held)
		}
		high, low := bits.Mul64(octets, uint64(n))
		if high < uint64(d) {
			scaled, _ := bits.Div64(high, low, uint64(d))
			e.OctetsL2 += scaled
		}
	}
	return e
}
