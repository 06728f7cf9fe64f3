package collector

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostmeter/collector/libvirt"
	"hostmeter/collector/sflow/frame"
	"hostmeter/collector/tally"
	"hostmeter/collector/udp"
	"hostmeter/schemas"
)

// Config is the part `collector` of the configuration.
type Config struct {
	// ID names the collector in the log; two collectors of one installation have different ones.
	ID string `yaml:"id"`
	// Shards is the same for all collectors of an installation and never changes: the books are laid
	// out by it.
	Shards uint32 `yaml:"shards"`
	// UDP are the listening sockets. Each takes all four protocols.
	UDP []udp.Config `yaml:"udp"`
	// Local are the provider's own prefixes: what is in none of them is remote.
	Local []netip.Prefix `yaml:"local"`
	// Assigned are IPv6 prefixes that were given to somebody: each is a meter.
	Assigned []netip.Prefix `yaml:"assigned"`
	// Classes are traffic classes beside external and internal, by the remote end: peering, backup. The ledger keeps them
	// apart, and a contract may have them free.
	Classes []tally.Class `yaml:"classes"`
	// Exporters is who may send. Everybody else is refused, counted and listed.
	Exporters []ExporterConfig `yaml:"exporters"`
	// Silence is after which time without a datagram an exporter no longer holds event time back.
	Silence time.Duration `yaml:"silence"`
	// Flush is how often what was counted goes to the log.
	Flush FlushConfig `yaml:"flush"`
	// Libvirt are the hypervisors to poll.
	Libvirt []libvirt.Config `yaml:"libvirt"`
}

// FlushConfig is how often meters are flushed: those with traffic to speak of, and the rest.
type FlushConfig struct {
	Busy time.Duration `yaml:"busy"`
	Idle time.Duration `yaml:"idle"`
}

// ExporterConfig is an exporter that may send, or a network of them with equal settings. The longest
// prefix that holds an address counts.
type ExporterConfig struct {
	Address Network `yaml:"address"`
	// Name is for people; accounts go by the address.
	Name string `yaml:"name,omitempty"`
	// Mode is single (default), edge or border: see the tally's modes.
	Mode string `yaml:"mode,omitempty"`
	// Sampling is auto (default: what the exporter tells), none, or N of 1-in-N, which wins over
	// whatever the exporter tells.
	Sampling Sampling `yaml:"sampling,omitempty"`
	// SamplingDefault is what auto counts with while, and after, nothing was told. 0 is 1.
	SamplingDefault uint32 `yaml:"sampling_default,omitempty"`
	// ActiveTimeout is after which time the exporter tells of a flow that goes on. 0 is
	// DefaultActiveTimeout.
	ActiveTimeout time.Duration `yaml:"active_timeout,omitempty"`
	// CustomerInterfaces are the customer-facing ports, for mode edge. None listed: all are.
	CustomerInterfaces []schemas.IfIndex `yaml:"customer_interfaces,omitempty"`
	// Octets is what the exporter's records count: layer3 (default, as the formats say) or layer2, whole
	// Ethernet frames without FCS, as Open vSwitch does in NetFlow v5. Layer 2 is converted.
	Octets string `yaml:"octets,omitempty"`
	// Protocols are what the exporter may speak; empty: all. Others are refused and counted.
	Protocols []schemas.Protocol `yaml:"protocols,omitempty"`
	// Inside are the tunnels (vxlan, gre, ipip) of which the packet inside counts, where the exporter
	// sends packets' headers: sFlow, and IPFIX with packet sections.
	Inside []string `yaml:"inside,omitempty"`
	// ClockAhead is by how much the exporter's clock is known to be ahead: its flows' times are put
	// back by it. Negative: it is behind.
	ClockAhead time.Duration `yaml:"clock_ahead,omitempty"`
	// DatagramsPerSecond is how many of its datagrams are decoded; what is beyond is dropped and counted. 0 is
	// DefaultDatagramsPerSecond. Of a network it is what each address may send.
	DatagramsPerSecond uint32 `yaml:"datagrams_per_second,omitempty"`
}

// What ExporterConfig.Octets may be.
const (
	OctetsLayer3 = "layer3"
	OctetsLayer2 = "layer2"
)

// DefaultActiveTimeout is what hostmeter's guide tells to set on exporters.
const DefaultActiveTimeout = time.Minute

// DefaultConfig listens nowhere and allows nobody.
func DefaultConfig() Config {
	return Config{
		ID:      "collector-1",
		Shards:  16,
		Silence: 15 * time.Minute,
		Flush:   FlushConfig{Busy: 500 * time.Millisecond, Idle: 10 * time.Second},
	}
}

// Validate says what is wrong, by key relative to `collector`: `udp[0].listen: missing port`.
func (c Config) Validate() error {
	if c.ID == "" || strings.ContainsAny(c.ID, "/ \t\n") {
		return fmt.Errorf("id: %q must be a name without slashes and spaces", c.ID)
	}
	if c.Shards == 0 || c.Shards > 1024 {
		return fmt.Errorf("shards: %d is not from 1 to 1024", c.Shards)
	}
	if c.Silence < time.Minute {
		return fmt.Errorf("silence: %v is below 1m", c.Silence)
	}
	if c.Flush.Busy < 50*time.Millisecond {
		return fmt.Errorf("flush.busy: %v is below 50ms", c.Flush.Busy)
	}
	if c.Flush.Idle < c.Flush.Busy || c.Flush.Idle > time.Minute {
		return fmt.Errorf("flush.idle: %v is not from flush.busy (%v) to 1m", c.Flush.Idle, c.Flush.Busy)
	}
	for i, u := range c.UDP {
		if err := u.Validate(); err != nil {
			return fmt.Errorf("udp[%d].%w", i, err)
		}
	}
	if len(c.UDP) > 0 && len(c.Exporters) == 0 {
		return errors.New("exporters: none is allowed, so everything that udp receives would be refused")
	}
	if len(c.Exporters) > 0 && len(c.Local) == 0 {
		return errors.New("local: no prefix is the provider's own, so nothing would be booked")
	}
	if err := errors.Join(validatePrefixes("local", c.Local), validatePrefixes("assigned", c.Assigned)); err != nil {
		return err
	}
	for i, p := range c.Assigned {
		if !p.Addr().Is6() {
			return fmt.Errorf("assigned[%d]: %v: every IPv4 address is a meter of its own; only IPv6 prefixes are assigned", i, p)
		}
	}
	return errors.Join(c.validateClasses(), c.validateExporters(), c.validateLibvirt())
}

// ClassNames are the names of the classes that the configuration adds.
func (c Config) ClassNames() []string {
	names := make([]string, len(c.Classes))
	for i, class := range c.Classes {
		names[i] = class.Name
	}
	return names
}

func (c Config) validateClasses() error {
	if len(c.Classes) > tally.ClassesMost {
		return fmt.Errorf("classes: %d are more than %d", len(c.Classes), tally.ClassesMost)
	}
	names, prefixes := map[string]bool{}, map[netip.Prefix]string{}
	for i, class := range c.Classes {
		switch class.Name {
		case "":
			return fmt.Errorf("classes[%d].name: missing", i)
		case schemas.ClassExternal, schemas.ClassInternal, schemas.ClassPort, "none":
			return fmt.Errorf("classes[%d].name: %q has a meaning of its own; choose another one", i, class.Name)
		}
		if strings.Trim(class.Name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" || len(class.Name) > 32 {
			return fmt.Errorf("classes[%d].name: %q: want up to 32 of a to z, 0 to 9, _ and -", i, class.Name)
		}
		if names[class.Name] {
			return fmt.Errorf("classes[%d].name: %q stands there already; give one class all of its prefixes", i, class.Name)
		}
		names[class.Name] = true
		if len(class.Remote) == 0 {
			return fmt.Errorf("classes[%d].remote: no prefix, so nothing would be %s", i, class.Name)
		}
		if err := validatePrefixes(fmt.Sprintf("classes[%d].remote", i), class.Remote); err != nil {
			return err
		}
		for j, p := range class.Remote {
			if other, twice := prefixes[p]; twice {
				return fmt.Errorf("classes[%d].remote[%d]: %v is in class %s already", i, j, p, other)
			}
			prefixes[p] = class.Name
			for _, local := range c.Local {
				if local.Bits() <= p.Bits() && local.Contains(p.Addr()) {
					return fmt.Errorf("classes[%d].remote[%d]: %v is local (%v): what goes between two local addresses is internal", i, j, p, local)
				}
			}
		}
	}
	return nil
}

func validatePrefixes(key string, prefixes []netip.Prefix) error {
	for i, p := range prefixes {
		switch {
		case !p.IsValid():
			return fmt.Errorf("%s[%d]: not a prefix", key, i)
		case p != p.Masked():
			return fmt.Errorf("%s[%d]: %v has host bits; did you mean %v?", key, i, p, p.Masked())
		case p.Addr().Is4In6():
			return fmt.Errorf("%s[%d]: %v is an IPv4 prefix in IPv6's form", key, i, p)
		}
	}
	return nil
}

func (c Config) validateExporters() error {
	seen := map[netip.Prefix]int{}
	for i, e := range c.Exporters {
		if err := e.validate(); err != nil {
			return fmt.Errorf("exporters[%d].%w", i, err)
		}
		if before, twice := seen[e.Address.Prefix]; twice {
			return fmt.Errorf("exporters[%d].address: %v stands in exporters[%d] already", i, e.Address, before)
		}
		seen[e.Address.Prefix] = i
	}
	return nil
}

func (e ExporterConfig) validate() error {
	if !e.Address.IsValid() {
		return errors.New("address: missing")
	}
	if _, err := tally.ParseMode(e.Mode); err != nil {
		return fmt.Errorf("mode: %w", err)
	}
	if e.Octets != "" && e.Octets != OctetsLayer3 && e.Octets != OctetsLayer2 {
		return fmt.Errorf("octets: %q is not layer3 or layer2", e.Octets)
	}
	if len(e.CustomerInterfaces) > 0 && e.Mode != "edge" {
		return errors.New("customer_interfaces: they count in mode edge only")
	}
	if e.SamplingDefault > 1 && e.Sampling != SamplingAuto {
		return errors.New("sampling_default: it counts with sampling: auto only")
	}
	if e.ActiveTimeout < 0 || e.ActiveTimeout > time.Hour {
		return fmt.Errorf("active_timeout: %v is not from 0 to 1h", e.ActiveTimeout)
	}
	for i, p := range e.Protocols {
		if !slices.Contains(flowProtocols, p) {
			return fmt.Errorf("protocols[%d]: %q is not netflow5, netflow9, ipfix or sflow5", i, p)
		}
	}
	for i, tunnel := range e.Inside {
		if tunnels[tunnel] == 0 {
			return fmt.Errorf("inside[%d]: %q is not vxlan, gre or ipip", i, tunnel)
		}
	}
	if e.ClockAhead.Abs() > 24*time.Hour {
		return fmt.Errorf("clock_ahead: %v is more than a day", e.ClockAhead)
	}
	if e.DatagramsPerSecond > datagramsPerSecondMost {
		return fmt.Errorf("datagrams_per_second: %d is above %d", e.DatagramsPerSecond, datagramsPerSecondMost)
	}
	return nil
}

var flowProtocols = []schemas.Protocol{schemas.NetFlow5, schemas.NetFlow9, schemas.IPFIX, schemas.SFlow5}

// expects says whether the exporter may speak a protocol.
func (e ExporterConfig) expects(p schemas.Protocol) bool {
	return len(e.Protocols) == 0 || slices.Contains(e.Protocols, p)
}

var tunnels = map[string]frame.Tunnels{"vxlan": frame.VXLAN, "gre": frame.GRE, "ipip": frame.IPIP}

func (e ExporterConfig) inside() (set frame.Tunnels) {
	for _, tunnel := range e.Inside {
		set |= tunnels[tunnel]
	}
	return set
}

func (c Config) validateLibvirt() error {
	seen := map[string]int{}
	for i, l := range c.Libvirt {
		if err := l.Validate(); err != nil {
			return fmt.Errorf("libvirt[%d].%w", i, err)
		}
		if before, twice := seen[l.Name]; twice {
			return fmt.Errorf("libvirt[%d].name: %q is the name of libvirt[%d] already", i, l.Name, before)
		}
		seen[l.Name] = i
	}
	return nil
}

func (e ExporterConfig) activeTimeout() time.Duration {
	if e.ActiveTimeout == 0 {
		return DefaultActiveTimeout
	}
	return e.ActiveTimeout
}

const datagramsPerSecondMost = 100_000_000

func (e ExporterConfig) datagramsPerSecond() uint32 {
	return cmp.Or(e.DatagramsPerSecond, DefaultDatagramsPerSecond)
}

func (e ExporterConfig) samplingDefault() uint32 { return max(e.SamplingDefault, 1) }

// Network is an address or a prefix of an exporter.
type Network struct{ netip.Prefix }

// UnmarshalText reads 192.0.2.1 or 192.0.2.0/24.
func (n *Network) UnmarshalText(text []byte) error {
	value := string(text)
	if !strings.Contains(value, "/") {
		addr, err := netip.ParseAddr(value)
		if err != nil || addr.Zone() != "" {
			return fmt.Errorf("%q is not an address or a prefix", value)
		}
		addr = addr.Unmap()
		n.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(value)
	if err != nil {
		return fmt.Errorf("%q is not an address or a prefix", value)
	}
	if prefix != prefix.Masked() {
		return fmt.Errorf("%v has host bits; did you mean %v?", prefix, prefix.Masked())
	}
	if prefix.Addr().Is4In6() { // senders are known by IPv4's own form
		if prefix.Bits() < 96 {
			return fmt.Errorf("%v is an IPv4 prefix in IPv6's form", prefix)
		}
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	n.Prefix = prefix
	return nil
}

// MarshalText writes a single address without a length.
func (n Network) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

func (n Network) String() string {
	if n.IsSingleIP() {
		return n.Addr().String()
	}
	return n.Prefix.String()
}

// Sampling is `auto`, `none` or N.
type Sampling uint32

// SamplingAuto takes what the exporter tells; SamplingNone is a rate of 1, whatever it tells.
const (
	SamplingAuto Sampling = 0
	SamplingNone Sampling = 1
)

// UnmarshalText reads auto, none or a number from 1 to 2^32-1.
func (s *Sampling) UnmarshalText(text []byte) error {
	switch value := string(text); value {
	case "auto", "":
		*s = SamplingAuto
	case "none":
		*s = SamplingNone
	default:
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil || n == 0 {
			return fmt.Errorf("sampling %q: want auto, none or N (of 1-in-N) up to %d", value, uint32(math.MaxUint32))
		}
		*s = Sampling(n)
	}
	return nil
}

// MarshalText writes it as it is read.
func (s Sampling) MarshalText() ([]byte, error) {
	switch s {
	case SamplingAuto:
		return []byte("auto"), nil
	case SamplingNone:
		return []byte("none"), nil
	}
	return []byte(strconv.FormatUint(uint64(s), 10)), nil
}
