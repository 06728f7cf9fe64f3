package netflow

import "hostmeter/schemas"

// Reason says why something was dropped.
type Reason uint8

// The reasons; String gives the text that metrics and accounts use.
const (
	DroppedShort           Reason = iota // datagrams shorter than their header
	DroppedVersion                       // datagrams of another protocol
	DroppedCount                         // v5 datagrams whose count does not fit
	DroppedDomains                       // datagrams of more domains than the limit
	DroppedTrailing                      // octets behind an IPFIX message, once a datagram
	DroppedSetLength                     // sets whose length does not fit the datagram
	DroppedReservedSet                   // sets with an id that no protocol defines
	DroppedTemplateInvalid               // templates cut short
	DroppedTemplateEmpty                 // templates whose records would take no octet
	DroppedTemplateLimit                 // templates beyond a limit
	DroppedRecordLength                  // records of variable length that are cut short
	DroppedHeldFull                      // held sets pushed out by newer ones
	DroppedHeldExpired                   // held sets whose template never came
	DroppedBudget                        // datagrams that Skip was told to pass over
	reasonCount
)

var reasonTexts = [reasonCount][2]string{ // unit, reason
	DroppedShort:           {"datagrams", "short"},
	DroppedVersion:         {"datagrams", "version"},
	DroppedCount:           {"datagrams", "count"},
	DroppedDomains:         {"datagrams", "domain_limit"},
	DroppedTrailing:        {"messages", "trailing"},
	DroppedSetLength:       {"sets", "set_length"},
	DroppedReservedSet:     {"sets", "reserved_set"},
	DroppedTemplateInvalid: {"templates", "template_invalid"},
	DroppedTemplateEmpty:   {"templates", "template_empty"},
	DroppedTemplateLimit:   {"templates", "template_limit"},
	DroppedRecordLength:    {"records", "record_length"},
	DroppedHeldFull:        {"sets", "held_full"},
	DroppedHeldExpired:     {"sets", "held_expired"},
	DroppedBudget:          {"datagrams", "datagram_budget"},
}

// Unit is what is counted: "datagrams", "messages", "sets", "templates" or "records".
func (r Reason) Unit() string { return reasonTexts[r][0] }

func (r Reason) String() string { return reasonTexts[r][1] }

// Stats counts what a decoder did since they were last taken.
type Stats struct {
	Datagrams5, Datagrams9, DatagramsIPFIX uint64
	Records, OptionRecords, Templates      uint64
	// Withdrawals counts templates that the exporter took back.
	Withdrawals uint64
	// TemplatesExpired counts templates that were neither used nor told again for too long.
	TemplatesExpired uint64
	// ReportedOctets and ReportedPackets are those of the records, not multiplied by sampling, with
	// the reverse direction.
	ReportedOctets, ReportedPackets uint64
	Dropped                         [reasonCount]uint64
	// HeldSets and HeldOctets are differences: what began to wait less what no longer waits.
	HeldSets, HeldOctets int64
	// Lost is what the sequence numbers say was sent and never received. They are differences, and
	// negative when a datagram that was counted as lost arrives late.
	LostFlows, LostDatagrams, LostRecords int64
	// Restarts counts sequences that began anew.
	Restarts uint64
}

// Datagrams is the number of datagrams received in any of the protocols, good or bad.
func (s *Stats) Datagrams() uint64 { return s.Datagrams5 + s.Datagrams9 + s.DatagramsIPFIX }

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

// HeldCounts lists how what waits for a template changed, in sets and octets.
func (s *Stats) HeldCounts() []*schemas.Count {
	var out []*schemas.Count
	if s.HeldSets != 0 {
		out = append(out, &schemas.Count{Unit: "sets", Reason: "template", Count: s.HeldSets})
	}
	if s.HeldOctets != 0 {
		out = append(out, &schemas.Count{Unit: "octets", Reason: "template", Count: s.HeldOctets})
	}
	return out
}

// LostCounts lists what the sequence numbers say was lost, in each protocol's unit: "flows" (v5),
// "datagrams" (v9), "records" (IPFIX).
func (s *Stats) LostCounts() []*schemas.Count {
	var out []*schemas.Count
	for _, c := range []struct {
		unit string
		n    int64
	}{{"flows", s.LostFlows}, {"datagrams", s.LostDatagrams}, {"records", s.LostRecords}} {
		if c.n != 0 {
			out = append(out, &schemas.Count{Unit: c.unit, Reason: "sequence", Count: c.n})
		}
	}
	return out
}
