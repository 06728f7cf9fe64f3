package tally

// slabs is a pool of values by number, so that a cell refers to them without a pointer for the garbage
// collector to follow. 0 is no number. T holds no pointer.
type slabs[T any] struct {
	slabs []*[slabSize]T
	free  []uint32
	used  int
}

const slabSize = 64

func (s *slabs[T]) at(number uint32) *T {
	return &s.slabs[(number-1)/slabSize][(number-1)%slabSize]
}

// get returns the number of an empty value.
func (s *slabs[T]) get() uint32 {
	if len(s.free) == 0 {
		first := uint32(len(s.slabs)) * slabSize
		s.slabs = append(s.slabs, new([slabSize]T))
		for i := range uint32(slabSize) {
			s.free = append(s.free, first+slabSize-i)
		}
	}
	last := len(s.free) - 1
	number := s.free[last]
	s.free = s.free[:last]
	s.used++
	return number
}

// put gives a value back, if number is one.
func (s *slabs[T]) put(number uint32) {
	if number == 0 {
		return
	}
	var empty T
	*s.at(number) = empty
	s.free = append(s.free, number)
	s.used--
}

// traffics is the traffic of cells, by their number. It grows without moving what is there.
type traffics struct{ slabs []*[trafficsSlab]traffic }

const trafficsSlab = 32

func (x *traffics) at(number uint32) *traffic {
	return &x.slabs[number/trafficsSlab][number%trafficsSlab]
}

// begin makes room for a cell of the next number.
func (x *traffics) begin(number uint32) {
	if int(number/trafficsSlab) == len(x.slabs) {
		x.slabs = append(x.slabs, new([trafficsSlab]traffic))
		return
	}
	*x.at(number) = traffic{}
}
