package netflow

import (
	"errors"
	"time"
)

// Limits bound what one exporter can make its decoder remember.
type Limits struct {
	// TemplatesPerDomain bounds the templates of one observation domain and session.
	TemplatesPerDomain int
	// FieldsPerTemplate bounds one template; FieldsPerDomain all templates of a domain and session.
	FieldsPerTemplate, FieldsPerDomain int
	// FieldsTotal bounds the templates of all domains and sessions.
	FieldsTotal int
	// Domains bounds the observation domains, SessionsPerDomain the ports that one is sent from.
	Domains, SessionsPerDomain int
	// HeldOctets and HeldAge bound the data sets that wait for their template.
	HeldOctets int
	HeldAge    time.Duration
	// TemplateHours is for how many hours in which its session was heard a template stays that is neither
	// used nor told again. Of one that was told anew in RefreshedHours different hours it is three times the
	// longest time between two tellings, and RefreshedHours at least. See docs/decisions/0005-template-age.md.
	TemplateHours, RefreshedHours int
	// Samplers bounds the sampling rates remembered of a domain.
	Samplers int
	// RunningFlows bounds the flows of which the last running totals (85, 86) are remembered.
	RunningFlows int
}

// DefaultLimits suit a large router.
func DefaultLimits() Limits {
	return Limits{
		TemplatesPerDomain: 256,
		FieldsPerTemplate:  512,
		FieldsPerDomain:    8192,
		FieldsTotal:        1 << 17,
		Domains:            256,
		SessionsPerDomain:  16,
		HeldOctets:         4 << 20,
		HeldAge:            30 * time.Minute,
		TemplateHours:      30 * 24,
		RefreshedHours:     24,
		Samplers:           1024,
		RunningFlows:       1 << 16,
	}
}

// Errors of Decode; each is also counted in Stats.
var (
	ErrShort   = errors.New("datagram is shorter than its header says")
	ErrVersion = errors.New("not NetFlow v5, v9 or IPFIX")
	ErrCount   = errors.New("count of records does not fit the datagram")
	ErrDomains = errors.New("exporter uses too many observation domains")
)
