// Package baseline owns what is normal for a meter at an hour of the week: a quantile of what was seen
// in the same hour of the day, on working days and on weekends apart.
//
// It is pure. First form: it keeps some of the last weeks' values per bin and computes the quantile
// with gonum when asked, at most once an hour. Values that were beyond the threshold are not learnt
// (the caller leaves them out), so that a long incident does not become normal.
package baseline

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat"
)

const (
	bins     = 48
	perBin   = 80 // values kept a bin: 20 working days of 4 an hour
	minimum  = 8  // fewer values are no baseline yet
	stepTime = 15 * time.Minute
)

// ErrState is returned for bytes that Append has not written.
var ErrState = errors.New("not a baseline")

// Model is one meter's baseline of one metric. The zero value has learnt nothing.
type Model struct {
	bins [bins]bin
	// The cell of stepTime that was learnt last, so that one value is taken from each.
	last int64
	// The quantile that was computed last, for cachedBin and cachedCount values.
	cached      float64
	cachedBin   int
	cachedCount uint32
}

type bin struct {
	values []float32 // a ring once it is full
	count  uint32    // values learnt in all
}

// Learn takes a normal value of the time at, at most one every quarter of an hour.
func (m *Model) Learn(at time.Time, value float64) {
	step := at.UnixNano() / int64(stepTime)
	if step <= m.last || math.IsNaN(value) {
		return
	}
	m.last = step
	b := &m.bins[binOf(at)]
	if len(b.values) < perBin {
		b.values = append(b.values, float32(value))
	} else {
		b.values[b.count%perBin] = float32(value)
	}
	b.count++
}

// Quantile returns the quantile q (0 to 1) of what is normal at the hour of at; known is false while
// too little has been seen of this hour.
func (m *Model) Quantile(at time.Time, q float64) (value float64, known bool) {
	i := binOf(at)
	b := &m.bins[i]
	if len(b.values) < minimum {
		return 0, false
	}
	if m.cachedCount == b.count && m.cachedBin == i {
		return m.cached, true
	}
	sorted := make([]float64, len(b.values))
	for k, v := range b.values {
		sorted[k] = float64(v)
	}
	slices.Sort(sorted)
	m.cached, m.cachedBin, m.cachedCount = stat.Quantile(q, stat.Empirical, sorted, nil), i, b.count
	return m.cached, true
}

// Threshold is Quantile x factor, at least floor.
func (m *Model) Threshold(at time.Time, q, factor, floor float64) (value float64, known bool) {
	value, known = m.Quantile(at, q)
	return max(value*factor, floor), known
}

func binOf(at time.Time) int {
	at = at.UTC()
	i := at.Hour()
	if day := at.Weekday(); day == time.Saturday || day == time.Sunday {
		i += 24
	}
	return i
}

// Append appends the model to dst: version, the last step, then per bin its count, the number of
// values and the values.
func (m *Model) Append(dst []byte) []byte {
	dst = append(dst, 1)
	dst = binary.AppendVarint(dst, m.last)
	for i := range m.bins {
		b := &m.bins[i]
		dst = binary.AppendUvarint(dst, uint64(b.count))
		dst = binary.AppendUvarint(dst, uint64(len(b.values)))
		for _, v := range b.values {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
	}
	return dst
}

// Read reads what Append wrote.
//
// Errors: ErrState.
func Read(text []byte) (*Model, error) {
	if len(text) == 0 || text[0] != 1 {
		return nil, ErrState
	}
	m := &Model{}
	last, n := binary.Varint(text[1:])
	if n <= 0 {
		return nil, ErrState
	}
	m.last, text = last, text[1+n:]
	for i := range m.bins {
		count, n := binary.Uvarint(text)
		if n <= 0 {
			return nil, ErrState
		}
		text = text[n:]
		length, n := binary.Uvarint(text)
		if n <= 0 || length > perBin || length > count || count > math.MaxUint32 || uint64(len(text)-n) < 4*length {
			return nil, ErrState
		}
		text = text[n:]
		b := &m.bins[i]
		b.count = uint32(count)
		for range length {
			b.values = append(b.values, math.Float32frombits(binary.LittleEndian.Uint32(text)))
			text = text[4:]
		}
	}
	if len(text) != 0 {
		return nil, ErrState
	}
	return m, nil
}
