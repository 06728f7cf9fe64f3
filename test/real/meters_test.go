package real_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hostmeter/collector/sflow/sflowtest"
	"hostmeter/test/processtest"
)

// takeGuests keeps other packages' tests off the guests until the test ends.
func takeGuests(t *testing.T) (uri string) {
	t.Helper()
	uri = processtest.Need(t, "HOSTMETER_TEST_LIBVIRT")
	state := processtest.Need(t, "HOSTMETER_TEST_LIBVIRT_STATE")
	t.Setenv("STATE", state)
	lock, err := os.OpenFile(filepath.Join(state, "test.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Close() })
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return uri
}

// TestThreeMetersOfOneGuestAgree meters what one guest sends at three places: a flow exporter where it
// leaves the bridge counts layer 3, libvirt whole frames, and the switch's port frames with their FCS.
// At layer 3 they are the same, to the octet.
func TestThreeMetersOfOneGuestAgree(t *testing.T) {
	uri := takeGuests(t)
	processtest.Need(t, "HOSTMETER_TEST_NETLAB") // softflowd is installed
	netns := processtest.Need(t, "HOSTMETER_TEST_LIBVIRT_NETNS")
	virsh := func(args ...string) string {
		return script(t, "libvirt-up.sh", append([]string{"virsh"}, args...)...)
	}
	virsh("suspend", "talk1")
	t.Cleanup(func() { virsh("resume", "talk1") })

	dir := t.TempDir()
	listen, collector := freePort(t), freeUDPPort(t)
	config := writeFile(t, dir, "hostmeter.yaml", fmt.Sprintf(`data: %s/data
provider: {name: Lab, time_zone: UTC, currency: GBP}
collector:
  id: lab
  udp: [{listen: "%s"}]
  local: [10.99.0.0/17]
  flush: {busy: 500ms, idle: 1s}
  exporters:
    - {address: 127.0.1.31, name: probe, active_timeout: 5s}
    - {address: 127.0.1.32, name: switch}
  libvirt: [{name: hv1, uri: "%s", every: 1s}]
http: {listen: "%s"}
`, dir, collector, uri, listen))
	start(t, "run", config)
	ready(t, listen)
	probe(t, netns, collector)
	port := portSamples(t, netns, collector)
	port()
	eventually(t, 60*time.Second, func() error { // the baseline of the vNIC
		if ratio, _ := cpuRatio(t, config, spinGuest); ratio == 0 {
			return fmt.Errorf("no CPU usage of %s yet", spinGuest)
		}
		return nil
	})
	virsh("resume", "talk1")
	eventually(t, 120*time.Second, func() error {
		if got := usage(t, config)[talkVNIC]; got.OutPackets < 300 {
			return fmt.Errorf("talk1 sent %d packets, want 300", got.OutPackets)
		}
		return nil
	})
	virsh("suspend", "talk1")
	port()
	flushProbe(t, netns)
	eventually(t, 90*time.Second, func() error {
		rows := usage(t, config)
		flows, vnic, port := rows["address:10.99.0.4"], rows[talkVNIC], rows["port:127.0.1.32/4"]
		// What the guest sends, the switch's port takes in, and its customer's meter says is out.
		if vnic.OutPackets == 0 || flows.OutOctets != vnic.OutOctets || flows.OutPackets != vnic.OutPackets ||
			port.OutOctets != vnic.OutOctets || port.OutPackets != vnic.OutPackets {
			return fmt.Errorf("flows say %d octets in %d packets, libvirt %d in %d, the port %d in %d",
				flows.OutOctets, flows.OutPackets, vnic.OutOctets, vnic.OutPackets, port.OutOctets, port.OutPackets)
		}
		t.Logf("all three say %d octets in %d packets", vnic.OutOctets, vnic.OutPackets)
		return nil
	})
}

func freeUDPPort(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}

// within runs f on a thread of its own in a network namespace; sockets that f opens stay there.
func within(t *testing.T, netns string, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		space, err := os.Open("/run/netns/" + netns)
		if err == nil {
			defer space.Close()
			if err = unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err == nil {
				err = f()
			}
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// probe runs softflowd where the guests' frames leave their bridge, and relays what it exports out of
// their namespace.
func probe(t *testing.T, netns, collector string) {
	t.Helper()
	var inside net.PacketConn
	within(t, netns, func() (err error) {
		inside, err = net.ListenPacket("udp", "127.0.0.1:0")
		return err
	})
	outside, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 1, 31)}}).Dial("udp", collector)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buffer := make([]byte, 65536)
		for {
			n, _, err := inside.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = outside.Write(buffer[:n])
		}
	}()
	t.Cleanup(func() { _ = inside.Close(); _ = outside.Close() })
	control := filepath.Join(t.TempDir(), "ctl")
	cmd := exec.Command("ip", "netns", "exec", netns, "softflowd", "-d", "-i", "lvgw1", "-v", "9", "-n", inside.LocalAddr().String(),
		"-c", control, "-p", control+".pid", "-t", "maxlife=2", "-t", "general=2", "-t", "udp=2", "-t", "expint=1")
	var said processtest.Output
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-done
		if t.Failed() {
			t.Logf("softflowd said: %s", processtest.Tail(said.String(), 2000))
		}
	})
	eventually(t, 20*time.Second, func() error { _, err := os.Stat(control); return err })
}

// flushProbe pushes frames that are no flows behind the others: libpcap hands over whole blocks of 128 KiB.
func flushProbe(t *testing.T, netns string) {
	t.Helper()
	frame := make([]byte, 300)
	copy(frame, []byte{2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 0xfd, 0x88, 0xb5}) // a protocol for experiments
	within(t, netns, func() error {
		bridge, err := net.InterfaceByName("lvgw0") // its peer receives them; the bridge does not
		if err != nil {
			return err
		}
		socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(socket)
		for range 3000 {
			if err := unix.Sendto(socket, frame, 0, &unix.SockaddrLinklayer{Ifindex: bridge.Index}); err != nil {
				return err
			}
		}
		return nil
	})
}

// portSamples returns what sends an sFlow counter sample of talk1's port, as a switch would: the
// kernel's counters of the guest's tap, and four octets of FCS for each frame.
func portSamples(t *testing.T, netns, collector string) func() {
	t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 1, 32)}}).Dial("udp", collector)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	const index = 4
	sequence := uint32(0)
	began := time.Now()
	return func() {
		t.Helper()
		octets, packets := tapCounters(t, netns)
		octets += 4 * packets
		counters := sflowtest.Join(sflowtest.Words(index, 6, 0, 1_000_000_000, 1, 3, uint32(octets>>32), uint32(octets), uint32(packets)),
			make([]byte, 4*13)) // no other kinds in; nothing out; not promiscuous
		sequence++
		sample := sflowtest.Tagged(2, sflowtest.Join(sflowtest.Words(sequence, index, 1), sflowtest.Tagged(1, counters)))
		if _, err := conn.Write(sflowtest.Datagram(0, sequence, uint32(time.Since(began).Milliseconds()+1000), sample)); err != nil {
			t.Fatal(err)
		}
	}
}

// tapCounters is what the host received from talk1.
func tapCounters(t *testing.T, netns string) (octets, packets uint64) {
	t.Helper()
	const folder = "/sys/class/net/talk1-0/statistics/"
	out, err := exec.Command("ip", "netns", "exec", netns, "cat", folder+"rx_bytes", folder+"rx_packets").Output()
	match := regexp.MustCompile(`^(\d+)\s+(\d+)$`).FindStringSubmatch(strings.TrimSpace(string(out)))
	if err != nil || match == nil {
		t.Fatalf("read the counters of talk1-0: %v, %q", err, out)
	}
	octets, _ = strconv.ParseUint(match[1], 10, 64)
	packets, _ = strconv.ParseUint(match[2], 10, 64)
	return octets, packets
}
