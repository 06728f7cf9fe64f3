package rating

import "fmt"

// Direction says what of a service's usage is held against its quota.
type Direction string

// The directions, seen from the customer. The first four count octets, the others a rate: the 95th
// percentile of the period's five-minute slots (Slots.Percentile has the definition).
const (
	Sum Direction = "sum" // incoming and outgoing together
	In  Direction = "in"
	Out Direction = "out"
	Max Direction = "max" // the greater of the two, over the whole period

	P95    Direction = "p95" // the greater of P95In and P95Out
	P95In  Direction = "p95_in"
	P95Out Direction = "p95_out"
	P95Sum Direction = "p95_sum" // of both directions' octets added up slot by slot
)

// ParseDirection reads a direction.
func ParseDirection(text string) (Direction, error) {
	switch d := Direction(text); d {
	case Sum, In, Out, Max, P95, P95In, P95Out, P95Sum:
		return d, nil
	}
	return "", fmt.Errorf("direction %q: want sum, in, out, max, p95, p95_in, p95_out or p95_sum", text)
}

// IsPercentile says that a rate counts, and not octets.
func (d Direction) IsPercentile() bool {
	switch d {
	case P95, P95In, P95Out, P95Sum:
		return true
	}
	return false
}
