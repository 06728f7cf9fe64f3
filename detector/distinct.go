package detector

import (
	"math"
	"math/bits"
	"slices"

	"hostmeter/schemas"
)

// distinct is a schemas.Sketch that others are merged into.
type distinct struct {
	Exact     []uint64 `json:"e,omitempty"`
	Registers []byte   `json:"r,omitempty"`
}

const (
	exactMost = 32
	registers = 256
)

func (d *distinct) merge(s *schemas.Sketch) {
	if s == nil {
		return
	}
	if len(s.GetRegisters()) == registers {
		d.dense()
		for i, r := range s.GetRegisters() {
			d.Registers[i] = max(d.Registers[i], r)
		}
	}
	for _, h := range s.GetExact() {
		d.add(h)
	}
}

func (d *distinct) add(hash uint64) {
	if d.Registers != nil {
		i, rank := hash>>56, byte(bits.LeadingZeros64(hash<<8|1<<7)+1)
		d.Registers[i] = max(d.Registers[i], min(rank, 57))
		return
	}
	i, found := slices.BinarySearch(d.Exact, hash)
	if found {
		return
	}
	d.Exact = slices.Insert(d.Exact, i, hash)
	if len(d.Exact) > exactMost {
		d.dense()
	}
}

func (d *distinct) dense() {
	if d.Registers != nil {
		return
	}
	d.Registers = make([]byte, registers)
	exact := d.Exact
	d.Exact = nil
	for _, h := range exact {
		d.add(h)
	}
}

// count estimates how many different hashes were added: exactly up to 32, else within about 6.5 %
// (the standard error of 256 registers).
func (d *distinct) count() float64 {
	if d.Registers == nil {
		return float64(len(d.Exact))
	}
	sum, zeros := 0.0, 0
	for _, r := range d.Registers {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			zeros++
		}
	}
	const m = float64(registers)
	estimate := 0.7213 / (1 + 1.079/m) * m * m / sum
	if estimate <= 2.5*m && zeros > 0 {
		return m * math.Log(m/float64(zeros))
	}
	return estimate
}
