package tally

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"hostmeter/schemas"
)

// population is a customer's traffic: packets of some sizes, each sampled by itself at 1 in rate.
type population struct {
	sizes  []uint64
	counts []int // packets of each size
}

func (p *population) octets() (total uint64) {
	for i, size := range p.sizes {
		total += size * uint64(p.counts[i])
	}
	return total
}

// sampled calls see for the size of each packet that a random sampler takes: the distance from one to
// the next has a geometric distribution.
func (p *population) sampled(random *rand.Rand, rate float64, see func(size uint64)) {
	scale := 1 / math.Log1p(-1/rate)
	for i, size := range p.sizes {
		for at := 0.0; ; see(size) {
			at += 1 + math.Floor(math.Log(1-random.Float64())*scale)
			if at > float64(p.counts[i]) {
				break
			}
		}
	}
}

// coverage is the share of trials in which the truth is within 1.96 standard errors of the estimate,
// both as a tally carries them.
func coverage(t *testing.T, trials int, truth uint64, rate uint32, trial func(add func(octets, packets uint64))) float64 {
	t.Helper()
	config := DefaultConfig()
	config.Local, config.NoDetail = prefixesOf("192.0.2.0/24"), true
	table := New(config)
	e := exporter(table, ModeSingle)
	at := time.Unix(1_790_000_000, 0)
	within := 0
	for range trials {
		trial(func(octets, packets uint64) {
			rec := record("198.51.100.7", "192.0.2.9", octets, packets)
			rec.SamplingNumerator, rec.SamplingDenominator, rec.SamplingOrigin = rate, 1, schemas.SamplingRecord
			rec.FlowStart, rec.FlowEnd = 0, 0
			table.Add(e, rec, at)
		})
		var octets uint64
		var variance float64
		for _, tally := range table.flushed(true).Tallies {
			octets += tally.In.GetOctets()
			variance += float64(tally.In.GetVarianceKib2()) * (1 << 20)
		}
		if math.Abs(float64(octets)-float64(truth)) <= 1.96*math.Sqrt(variance) {
			within++
		}
	}
	return float64(within) / float64(trials)
}

// TestIntervalOfSamples: the interval of 95 % that is made of a tally holds the truth in 94 % to 96 % of
// months when each sample tells one packet (sFlow) and there are about a thousand samples or more.
// 2000 trials tell the share within 0.5 % (one standard error); the seeds are fixed.
func TestIntervalOfSamples(t *testing.T) {
	f := func(name string, seed uint64, rate uint32, p population) {
		t.Helper()
		random := rand.New(rand.NewPCG(seed, 1))
		got := coverage(t, 2000, p.octets(), rate, func(add func(octets, packets uint64)) {
			p.sampled(random, float64(rate), func(size uint64) { add(size, 1) })
		})
		t.Logf("%s (seed %d): %.2f %%", name, seed, 100*got)
		if got < 0.94 || got > 0.96 {
			t.Errorf("%s, seed %d: the interval holds the truth in %.2f %% of trials", name, seed, 100*got)
		}
	}
	f("small, middle and full packets, 1 in 128", 1, 128, population{[]uint64{40, 576, 1500}, []int{128 * 400, 128 * 200, 128 * 400}})
	f("packets of one size, 1 in 1000", 2, 1000, population{[]uint64{1500}, []int{1000 * 1000}})
	f("mostly acknowledgements, 1 in 4096", 3, 4096, population{[]uint64{40, 1500}, []int{4096 * 900, 4096 * 300}})
	f("a jumbo frame in thirty, 1 in 10", 4, 10, population{[]uint64{64, 9000}, []int{10 * 970, 10 * 33 * 3}})
}

// TestIntervalOfFlowRecords: a flow record tells its sampled packets in one sum, so that only a bound of
// the variance is known: the interval holds the truth in 95 % of months at least.
func TestIntervalOfFlowRecords(t *testing.T) {
	f := func(name string, seed uint64, rate uint32, packetsOfFlow int, p population) {
		t.Helper()
		random := rand.New(rand.NewPCG(seed, 1))
		got := coverage(t, 1000, p.octets(), rate, func(add func(octets, packets uint64)) {
			var octets, packets uint64 // of the flow that is being collected
			p.sampled(random, float64(rate), func(size uint64) {
				octets, packets = octets+size, packets+1
				if random.IntN(packetsOfFlow) == 0 {
					add(octets, packets)
					octets, packets = 0, 0
				}
			})
			if packets > 0 {
				add(octets, packets)
			}
		})
		t.Logf("%s (seed %d): %.2f %%", name, seed, 100*got)
		if got < 0.95 {
			t.Errorf("%s, seed %d: the interval holds the truth in %.2f %% of trials", name, seed, 100*got)
		}
	}
	mixed := population{[]uint64{40, 576, 1500}, []int{100 * 400, 100 * 200, 100 * 400}}
	f("flows of 2 sampled packets", 1, 100, 2, mixed)
	f("flows of 20 sampled packets", 2, 100, 20, mixed)
	f("flows of 300 sampled packets", 3, 100, 300, mixed)
	f("full packets, flows of 20", 4, 1000, 20, population{[]uint64{1500}, []int{1000 * 1500}})
}
