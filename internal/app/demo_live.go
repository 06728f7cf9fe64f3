package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"hostmeter/internal/clock"
)

// liveStep is how often the live phase looks for what is due.
const liveStep = 100 * time.Millisecond

// show serves the pages from the beginning, while the past fills them, and then goes on live from the
// end of the past at the machine's pace, over real sockets, until ctx is done.
func (d *demo) show(ctx context.Context) error {
	pages := d.app.server
	d.app.server = nil // it runs here, and not with the rest
	d.say("The pages fill at %s  (user %s, password %s)", pages.URL(), demoUser, demoPassword)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return quiet(pages.Run(ctx)) })
	group.Go(func() error {
		if err := d.past(ctx); err != nil {
			return quiet(err)
		}
		d.clock.set(clock.ShiftedTo(d.end))
		d.say(`
The past weeks are played. Look at %s  (user %s, password %s)
  Finance: this month's usage and forecast, last month's report   Operations: incidents, top meters, exporters
The simulated date is %s. Abuse starts within a minute: watch Operations.
Reports, inventory and log are in %s. Stop with Ctrl-C.`,
			pages.URL(), demoUser, demoPassword, d.end.Format("2 January 2006, 15:04 MST"), d.options.Out)
		live, ctx := errgroup.WithContext(ctx)
		live.Go(func() error { return d.app.Run(ctx) })
		live.Go(func() error { return quiet(d.send(ctx)) })
		return live.Wait()
	})
	return group.Wait()
}

// send sends each datagram from its exporter's own address.
func (d *demo) send(ctx context.Context) error {
	addresses := d.app.collector.Addresses()
	if len(addresses) == 0 {
		return errors.New("the demo's collector listens nowhere")
	}
	to := net.UDPAddrFromAddrPort(addresses[0])
	senders := map[netip.AddrPort]*net.UDPConn{}
	defer func() {
		for _, conn := range senders {
			_ = conn.Close()
		}
	}()
	for {
		for _, event := range d.provider.NextLive(d.clock.Now()) {
			if event.Guests != nil {
				d.app.collector.FeedGuests(event.Guests.Host, event.At, event.Guests.Readings)
			}
			if event.Datagram == nil {
				continue
			}
			conn, ok := senders[event.Datagram.From]
			if !ok {
				var err error
				if conn, err = dialFrom(event.Datagram.From, to); err != nil {
					return fmt.Errorf("send as exporter %s: %w", event.Datagram.From, err)
				}
				senders[event.Datagram.From] = conn
			}
			if _, err := conn.Write(event.Datagram.Payload); err != nil {
				return fmt.Errorf("send as exporter %s: %w", event.Datagram.From, err)
			}
		}
		if err := d.clock.Sleep(ctx, liveStep); err != nil {
			return err
		}
	}
}

// dialFrom opens a socket at an exporter's own address, at its port or, where another program has
// that, at any other.
func dialFrom(from netip.AddrPort, to *net.UDPAddr) (*net.UDPConn, error) {
	conn, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(from), to)
	if errors.Is(err, syscall.EADDRINUSE) {
		return net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from.Addr(), 0)), to)
	}
	return conn, err
}
