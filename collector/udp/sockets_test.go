package udp_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"hostmeter/collector/udp"
)

// readOne serves a socket until one datagram came, and closes it.
func readOne(t *testing.T, s *udp.Socket) string {
	t.Helper()
	got := make(chan string, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- s.Serve(ctx, 1, oneLane, expected(func(_ int, d *udp.Datagram) {
			select {
			case got <- string(d.Payload):
			default:
			}
		}))
	}()
	text := <-got
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return text
}

// What arrives between two readers waits in the kernel's queue for the second.
func TestKeptSocketsHoldWhatArrivesBetweenTwoReaders(t *testing.T) {
	var sockets udp.Sockets
	t.Cleanup(func() { _ = sockets.Close() })
	cfg := udp.Config{Listen: "127.0.0.1:0"}
	first, err := sockets.Listen(t.Context(), cfg, udp.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	at := first.LocalAddr()
	conn := dial(t, "udp4", at)
	send(t, conn, "one")
	if got := readOne(t, first); got != "one" {
		t.Fatalf("the first reader got %q", got)
	}
	send(t, conn, "two")
	second, err := sockets.Listen(t.Context(), cfg, udp.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if second.LocalAddr() != at {
		t.Fatalf("the second reader listens on %v, not on %v", second.LocalAddr(), at)
	}
	if got := readOne(t, second); got != "two" {
		t.Fatalf("the second reader got %q", got)
	}
}

func TestSocketsThatNobodyReadsAreClosed(t *testing.T) {
	var sockets udp.Sockets
	t.Cleanup(func() { _ = sockets.Close() })
	old, err := sockets.Listen(t.Context(), udp.Config{Listen: "127.0.0.1:0"}, udp.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	at := old.LocalAddr()
	if closed, err := sockets.DropUnread(); err != nil || len(closed) != 0 {
		t.Fatalf("closed %v (%v) while it is read", closed, err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if closed, err := sockets.DropUnread(); err != nil || len(closed) != 1 {
		t.Fatalf("closed %v (%v)", closed, err)
	}
	again, err := udp.Listen(t.Context(), udp.Config{Listen: at.String()}, udp.Deps{})
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	_ = again.Close()
}

// A service manager binds the socket, and the process takes it over with what waits in it.
func TestSocketsOfTheServiceManagerAreTakenOver(t *testing.T) {
	if address := os.Getenv("HOSTMETER_INHERITED"); address != "" {
		takeOver(t, address)
		return
	}
	bound, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bound.Close() })
	at := bound.LocalAddr().(*net.UDPAddr).AddrPort()
	send(t, dial(t, "udp4", at), "waiting")
	file, err := bound.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	// sh, because LISTEN_PID is the id of the process that is to take over.
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "LISTEN_FDS="+strconv.Itoa(1), "HOSTMETER_INHERITED="+at.String())
	cmd.ExtraFiles = []*os.File{file}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func takeOver(t *testing.T, address string) {
	sockets, err := udp.Inherited()
	if err != nil {
		t.Fatal(err)
	}
	s, err := sockets.Listen(t.Context(), udp.Config{Listen: address}, udp.Deps{})
	if err != nil {
		t.Fatal(err) // a socket of its own would find the address taken
	}
	if got := readOne(t, s); got != "waiting" {
		t.Fatalf("got %q", got)
	}
}
