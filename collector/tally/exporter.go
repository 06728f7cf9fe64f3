package tally

import (
	"fmt"
	"net/netip"

	"hostmeter/schemas"
)

// Mode says which ends of a record an exporter books, so that a packet seen at two places counts once.
type Mode uint8

// The accounting modes.
const (
	// ModeSingle books both ends: one switch sees every packet once.
	ModeSingle Mode = iota
	// ModeEdge books the source at the ingress of a customer's port, the destination at the egress.
	ModeEdge
	// ModeBorder books the local end; traffic between two local addresses is not booked.
	ModeBorder
)

// ParseMode reads "single", "edge" or "border"; empty is single.
func ParseMode(text string) (Mode, error) {
	switch text {
	case "", "single":
		return ModeSingle, nil
	case "edge":
		return ModeEdge, nil
	case "border":
		return ModeBorder, nil
	}
	return 0, fmt.Errorf("%q is no accounting mode (want single, edge or border)", text)
}

// ExporterConfig is what the operator said of an exporter.
type ExporterConfig struct {
	// Address names port meters. Name is ExporterAccount.exporter; default: the address.
	Address  netip.Addr
	Name     string
	Protocol schemas.Protocol
	Mode     Mode
	// CustomerInterfaces are the customer-facing ports, for ModeEdge; empty: all are.
	CustomerInterfaces []schemas.IfIndex
	// SamplingNumerator/SamplingDenominator, if set, win over what records and options tell
	// (sampling: N or none). Denominator 0 with a numerator means 1.
	SamplingNumerator, SamplingDenominator uint32
}

// Exporter is a handle of Table.Exporter for one (exporter, protocol).
type Exporter struct {
	config ExporterConfig
}

// HeldKey is what records of unknown sampling are kept apart by, in one exporter.
type HeldKey struct {
	Domain      uint32
	SamplerID   uint64
	InInterface schemas.IfIndex
}
