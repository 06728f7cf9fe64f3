package schemas

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"
)

// MeterID names a meter in text that never changes its meaning: "address:192.0.2.9",
// "address:2001:db8:7::/48", "port:192.0.2.1/17", "vnic:UUID/MAC" or "guest:UUID".
type MeterID string

// MeterKind is the part of a MeterID before the colon.
type MeterKind string

// The kinds of meters.
const (
	KindAddress MeterKind = "address"
	KindPort    MeterKind = "port"
	KindVNIC    MeterKind = "vnic"
	KindGuest   MeterKind = "guest"
)

// ErrMeter is returned for a text that is no meter id.
var ErrMeter = errors.New("not a meter id (want address:…, port:…/N, vnic:UUID/MAC or guest:UUID)")

// Octets counts octets of layer 3 unless the name of a value says otherwise.
type Octets uint64

// Packets counts IP packets or Ethernet frames.
type Packets uint64

// IfIndex is an exporter's number of one of its interfaces (IF-MIB); 0 is unknown.
type IfIndex uint32

// AddressMeter is the meter of one address. An IPv4-mapped address is its IPv4 address.
func AddressMeter(addr netip.Addr) MeterID {
	return MeterID(AppendAddressMeter(nil, addr))
}

// AppendAddressMeter appends the meter of one address to dst.
func AppendAddressMeter(dst []byte, addr netip.Addr) []byte {
	return addr.Unmap().AppendTo(append(dst, "address:"...))
}

// PrefixMeter is the meter of an assigned prefix. One that holds a single address is the address.
func PrefixMeter(prefix netip.Prefix) MeterID {
	if prefix.IsSingleIP() {
		return AddressMeter(prefix.Addr())
	}
	return MeterID("address:" + prefix.Masked().String())
}

// PortMeter is the meter of an exporter's interface. Its in is what whoever is behind the interface receives, which
// is what the exporter counts as sent.
func PortMeter(exporter netip.Addr, index IfIndex) MeterID {
	return MeterID("port:" + exporter.Unmap().String() + "/" + strconv.FormatUint(uint64(index), 10))
}

// VNICMeter is the meter of a guest's virtual interface.
func VNICMeter(uuid, mac string) MeterID {
	return MeterID("vnic:" + strings.ToLower(uuid) + "/" + strings.ToLower(mac))
}

// GuestMeter is the meter of a guest's CPU.
func GuestMeter(uuid string) MeterID { return MeterID("guest:" + strings.ToLower(uuid)) }

// Kind returns the part before the colon.
func (m MeterID) Kind() MeterKind {
	kind, _, _ := strings.Cut(string(m), ":")
	return MeterKind(kind)
}

// Prefix returns the address or prefix of an address meter; ok is false for other meters.
func (m MeterID) Prefix() (prefix netip.Prefix, ok bool) {
	text, found := strings.CutPrefix(string(m), "address:")
	if !found {
		return netip.Prefix{}, false
	}
	prefix, err := parsePrefix(text)
	return prefix, err == nil
}

// ParseMeter reads a meter id as a person may write it and returns its one canonical form.
//
// Errors: ErrMeter.
func ParseMeter(text string) (MeterID, error) {
	kind, rest, _ := strings.Cut(text, ":")
	switch MeterKind(kind) {
	case KindAddress:
		if prefix, err := parsePrefix(rest); err == nil {
			return PrefixMeter(prefix), nil
		}
	case KindPort:
		exporter, index, found := cutLast(rest, "/")
		addr, err := netip.ParseAddr(exporter)
		n, err2 := strconv.ParseUint(index, 10, 32)
		if found && err == nil && err2 == nil {
			return PortMeter(addr, IfIndex(n)), nil
		}
	case KindVNIC:
		uuid, mac, found := strings.Cut(rest, "/")
		if found && uuid != "" && mac != "" {
			return VNICMeter(uuid, mac), nil
		}
	case KindGuest:
		if rest != "" && !strings.Contains(rest, "/") {
			return GuestMeter(rest), nil
		}
	}
	return "", fmt.Errorf("%q: %w", text, ErrMeter)
}

// ShardOf returns the shard of a meter, or of an exporter's account, among shards: FNV-1a of its
// text modulo shards. It never changes: the books of an installation are laid out by it.
func ShardOf(id string, shards uint32) uint32 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	return uint32(h.Sum64() % uint64(shards))
}

func parsePrefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		return prefix.Masked(), nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	if addr.Zone() != "" {
		return netip.Prefix{}, ErrMeter
	}
	addr = addr.Unmap()
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
