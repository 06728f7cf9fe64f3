package replay

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"hostmeter/schemas"
)

// The first octets of a pcapng and of the forms of a pcap.
var (
	magicNG   = []byte{0x0a, 0x0d, 0x0d, 0x0a}
	magicPcap = [][]byte{{0xa1, 0xb2, 0xc3, 0xd4}, {0xd4, 0xc3, 0xb2, 0xa1}, {0xa1, 0xb2, 0x3c, 0x4d}, {0x4d, 0x3c, 0xb2, 0xa1}}
)

// file sends the datagrams of one file on. What is no capture by its first octets is a raw payload.
func (r *run) file(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	defer f.Close()
	buffered := bufio.NewReaderSize(f, 1<<20)
	magic, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("replay %s: %w", name, err)
	}
	switch {
	case bytes.Equal(magic, magicNG):
		err = r.pcapNG(buffered)
	case isPcap(magic):
		err = r.pcap(buffered)
	default:
		err = r.payload(buffered, strings.EqualFold(filepath.Ext(name), ".ipfix"))
	}
	if err != nil {
		return fmt.Errorf("replay %s: %w", name, err)
	}
	return nil
}

func isPcap(magic []byte) bool {
	for _, m := range magicPcap {
		if bytes.Equal(magic, m) {
			return true
		}
	}
	return false
}

func (r *run) pcap(in io.Reader) error {
	reader, err := pcapgo.NewReader(in)
	if err != nil {
		return err
	}
	return r.packets(reader.ZeroCopyReadPacketData, reader.LinkType())
}

func (r *run) pcapNG(in io.Reader) error {
	reader, err := pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
	if err != nil {
		return err
	}
	return r.packets(reader.ZeroCopyReadPacketData, reader.LinkType())
}

// packets sends on what a capture holds. One that ends within a packet, as a capture that was
// stopped does, counts it as skipped.
func (r *run) packets(next func() ([]byte, gopacket.CaptureInfo, error), link layers.LinkType) error {
	for {
		packet, info, err := next()
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
			r.result.Skipped++
			return nil
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if len(info.AncillaryData) > 0 {
			if of, ok := info.AncillaryData[0].(layers.LinkType); ok {
				link = of
			}
		}
		r.packet(link, packet, info.Timestamp)
	}
}

// packet takes the UDP datagram out of a captured packet.
func (r *run) packet(link layers.LinkType, packet []byte, at time.Time) {
	ip, ok := network(link, packet)
	if !ok {
		r.result.Skipped++
		return
	}
	from, payload, state := r.fragments.datagram(ip)
	switch state {
	case waiting:
	case whole:
		r.take(from, at, payload)
	case foreign:
		r.result.Skipped++
	}
}

// payloadMax is the largest raw payload file that is read; an IPFIX file may hold many messages.
const payloadMax = 1 << 30

// udpMax is the longest UDP payload.
const udpMax = 65535 - 8

// payload sends on a file that is one UDP payload, or IPFIX messages one after another (RFC 5655): by
// its name, or because it is longer than a datagram can be. It has no time of receipt: its time of
// export stands for that.
func (r *run) payload(in io.Reader, messages bool) error {
	b, err := io.ReadAll(io.LimitReader(in, payloadMax+1))
	if err != nil {
		return err
	}
	if len(b) > payloadMax {
		return fmt.Errorf("raw payload is longer than %d octets", payloadMax)
	}
	from := netip.AddrPortFrom(r.options.Exporter, 0)
	for len(b) > 0 {
		one := b
		if protocol, _ := Recognise(b); protocol == schemas.IPFIX && (messages || len(b) > udpMax) {
			if length := int(binary.BigEndian.Uint16(b[2:])); length >= 16 && length < len(b) {
				one = b[:length]
			}
		}
		r.take(from, exportTime(one), one)
		b = b[len(one):]
	}
	return nil
}

// exportTime is the time in the header of a NetFlow or IPFIX datagram; sFlow has none.
func exportTime(b []byte) time.Time {
	protocol, _ := Recognise(b)
	switch {
	case (protocol == schemas.NetFlow5 || protocol == schemas.NetFlow9) && len(b) >= 12:
		return time.Unix(int64(binary.BigEndian.Uint32(b[8:])), 0)
	case protocol == schemas.IPFIX && len(b) >= 8:
		return time.Unix(int64(binary.BigEndian.Uint32(b[4:])), 0)
	}
	return time.Unix(0, 0)
}
