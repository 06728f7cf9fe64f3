package collector_test

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/collector"
	"hostmeter/schemas"
)

// What the network delivers again, at once or after up to 300 others, in order or as a burst, counts once and is lost nowhere.
func TestARepeatedDatagramCountsOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sent [][]byte
		count := rapid.IntRange(3, 60).Draw(t, "datagrams")
		v5Sent := rapid.Bool().Draw(t, "v5")
		for i := range count {
			at := after(time.Duration(i) * time.Millisecond)
			if v5Sent {
				sent = append(sent, v5(at, uint32(2*i), 0, download, download))
			} else {
				sent = append(sent, v9(at, uint32(i), 0, flowTemplate(false), flowData(false, download, download)))
			}
		}
		log := newMemLog()
		cfg := config()
		cfg.Exporters[0].Sampling = 1
		c := newCollector(t, cfg, collector.Deps{Log: log})
		repeats := int64(0)
		for i, d := range sent {
			at := after(time.Duration(i) * time.Millisecond)
			c.Feed(edge, at, d)
			if rapid.IntRange(0, 3).Draw(t, "repeat") == 0 {
				for from := rapid.IntRange(0, i).Draw(t, "from"); from <= i; from++ {
					c.Feed(netip.AddrPortFrom(edge.Addr(), 40001), at, sent[from]) // the other way may have another port
					repeats++
				}
			}
		}
		flush(t, c, after(time.Minute))
		account := schemas.ExporterAccount{}
		for _, b := range log.batches {
			for _, a := range b.Accounts {
				account.Datagrams += a.Datagrams
				account.Records += a.Records
				account.Octets += a.Octets
				account.Lost = schemas.AddCounts(account.Lost, a.Lost...)
				account.Dropped = schemas.AddCounts(account.Dropped, a.Dropped...)
			}
		}
		if account.Datagrams != uint64(count) || account.Records != uint64(2*count) || account.Octets != uint64(2*count)*10_000 {
			t.Errorf("%d datagrams, %d records, %d octets of %d datagrams", account.Datagrams, account.Records, account.Octets, count)
		}
		for _, lost := range account.Lost {
			if lost.Count != 0 {
				t.Errorf("%d %s lost", lost.Count, lost.Unit)
			}
		}
		dropped := int64(0)
		for _, d := range account.Dropped {
			if d.Reason != schemas.ReasonRepeated {
				t.Errorf("dropped as %s", d.Reason)
			}
			dropped += d.Count
		}
		if dropped != repeats {
			t.Errorf("%d repeated, of %d", dropped, repeats)
		}
	})
}

// Two exporters may say the same, octet for octet: each of them counts.
func TestTheSameDatagramOfTwoExportersCountsTwice(t *testing.T) {
	log := newMemLog()
	c := newCollector(t, config(collector.ExporterConfig{Address: network("198.51.100.0/24"), Sampling: 1}), collector.Deps{Log: log})
	d := v5(begin, 0, 0, download)
	c.Feed(edge, begin, d)
	c.Feed(netip.MustParseAddrPort("198.51.100.2:40000"), begin, d)
	flush(t, c, after(time.Minute))
	octets := uint64(0)
	for _, b := range log.batches {
		for _, a := range b.Accounts {
			octets += a.Octets
		}
	}
	if octets != 20_000 {
		t.Errorf("%d octets", octets)
	}
}
