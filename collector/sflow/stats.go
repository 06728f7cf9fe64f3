package sflow

import "hostmeter/schemas"

// Reason says why something was dropped.
type Reason uint8

// The reasons; String gives the text that metrics and accounts use.
const (
	DroppedShort        Reason = iota // datagrams shorter than their header
	DroppedVersion                    // datagrams of another version
	DroppedSampleLength               // samples whose length does not fit the datagram
	DroppedRecordLength               // samples with a record whose length does not fit
	DroppedNoPacket                   // flow samples without a record that tells the packet
	DroppedUnknown                    // samples of a format that is not known
	DroppedDiscarded                  // notices of discarded packets, which were not carried
	DroppedBudget                     // datagrams that Skip was told to pass over
	reasonCount
)

var reasonTexts = [reasonCount][2]string{ // unit, reason
	DroppedShort:        {"datagrams", "short"},
	DroppedVersion:      {"datagrams", "version"},
	DroppedSampleLength: {"samples", "sample_length"},
	DroppedRecordLength: {"samples", "record_length"},
	DroppedNoPacket:     {"samples", "no_packet"},
	DroppedUnknown:      {"samples", "unknown_format"},
	DroppedDiscarded:    {"samples", "discarded_packet"},
	DroppedBudget:       {"datagrams", "datagram_budget"},
}

// Unit is what is counted: "datagrams" or "samples".
func (r Reason) Unit() string { return reasonTexts[r][0] }

func (r Reason) String() string { return reasonTexts[r][1] }

// Stats counts what a decoder did since they were last taken.
type Stats struct {
	DatagramCount uint64
	// Records are flow samples that count; CounterSamples are samples of counters of any kind.
	Records, CounterSamples uint64
	// ReportedOctets is the frame length and ReportedPackets 1 of each record.
	ReportedOctets, ReportedPackets uint64
	Dropped                         [reasonCount]uint64
	// Lost is what the sequence numbers say was sent and never received. They are differences, and
	// negative when a datagram that was counted as lost arrives late.
	LostDatagrams, LostSamples int64
	// LostAtAgent is what the agents say of samples that they took and could not send: those have no
	// sequence number.
	LostAtAgent uint64
	// LengthsCut counts records whose IP header claimed more octets than their frame has.
	LengthsCut uint64
	// Restarts counts sequences that began anew.
	Restarts uint64
}

// Datagrams is the number of datagrams received, good or bad.
func (s *Stats) Datagrams() uint64 { return s.DatagramCount }

// DroppedCounts lists what was dropped, by unit and reason, without zeros.
func (s *Stats) DroppedCounts() []*schemas.Count {
	var out []*schemas.Count
	for r, n := range s.Dropped {
		if n > 0 {
			out = append(out, &schemas.Count{Unit: Reason(r).Unit(), Reason: Reason(r).String(), Count: int64(n)})
		}
	}
	return out
}

// LostCounts lists what the sequence numbers say was lost, in "datagrams" and "samples", and what never
// left the agents, in "unsent_samples".
func (s *Stats) LostCounts() []*schemas.Count {
	var out []*schemas.Count
	for _, c := range []struct {
		unit string
		n    int64
	}{{"datagrams", s.LostDatagrams}, {"samples", s.LostSamples}} {
		if c.n != 0 {
			out = append(out, &schemas.Count{Unit: c.unit, Reason: "sequence", Count: c.n})
		}
	}
	if s.LostAtAgent != 0 {
		out = append(out, &schemas.Count{Unit: "unsent_samples", Reason: "agent", Count: int64(s.LostAtAgent)})
	}
	return out
}
