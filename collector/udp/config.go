package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"hostmeter/internal/config"
)

// DefaultReceiveBuffer holds about 14,000 datagrams of 1.4 kB, which is more than a second of the
// highest rate that one core decodes.
const DefaultReceiveBuffer = 32 << 20

// Config is one listening socket.
type Config struct {
	// Listen is HOST:PORT. An empty host, or [::], listens on IPv6 and IPv4 alike.
	Listen string `yaml:"listen"`
	// ReceiveBuffer is the payload the kernel is asked to keep while the process is busy. 0 is
	// DefaultReceiveBuffer.
	ReceiveBuffer config.Size `yaml:"receive_buffer,omitempty"`
}

// Validate names keys relative to the socket's own: `listen: missing port`.
func (c Config) Validate() error {
	if c.Listen == "" {
		return errors.New(`listen: missing (for example "0.0.0.0:2055")`)
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		var addrErr *net.AddrError
		if errors.As(err, &addrErr) && addrErr.Err == "missing port in address" {
			return errors.New("listen: missing port")
		}
		return fmt.Errorf("listen: %w", err)
	}
	if host != "" && net.ParseIP(host) == nil {
		return fmt.Errorf("listen: %q is not an IP address", host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("listen: port %q is not a number from 0 to %d", port, 1<<16-1)
	} else if n == 0 && host == "" {
		return errors.New("listen: port 0 on all addresses would be found by nobody")
	}
	if c.ReceiveBuffer < 0 {
		return errors.New("receive_buffer: below 0")
	}
	return nil
}

// address is Listen of a valid configuration; an empty host is the IPv6 wildcard.
func (c Config) address() netip.AddrPort {
	host, port, _ := net.SplitHostPort(c.Listen)
	addr, err := netip.ParseAddr(host)
	if err != nil {
		addr = netip.IPv6Unspecified()
	}
	n, _ := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(addr, uint16(n))
}

func (c Config) receiveBuffer() int {
	if c.ReceiveBuffer == 0 {
		return DefaultReceiveBuffer
	}
	return int(min(int64(c.ReceiveBuffer), 1<<30))
}
