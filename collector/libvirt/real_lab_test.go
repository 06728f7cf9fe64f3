//go:build cgo && linux && (libvirt_dlopen || libvirt_linked)

package libvirt

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hostmeter/schemas"
)

// labEnv is a variable that libvirt-up.sh's caller must set.
func labEnv(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set, but HOSTMETER_TEST_LIBVIRT is", name)
	}
	return value
}

var labsTaken sync.Map // by test

// takeLab keeps the tests of other packages off the lab's guests until the test ends.
func takeLab(t *testing.T) {
	t.Helper()
	if _, taken := labsTaken.LoadOrStore(t, true); taken {
		return
	}
	lock, err := os.OpenFile(filepath.Join(labEnv(t, "HOSTMETER_TEST_LIBVIRT_STATE"), "test.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Close(); labsTaken.Delete(t) })
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}

// lab runs libvirt-up.sh for the lab of the tests.
func lab(t *testing.T, args ...string) {
	t.Helper()
	labAt(t, labEnv(t, "HOSTMETER_TEST_LIBVIRT_STATE"), labEnv(t, "HOSTMETER_TEST_LIBVIRT_NETNS"), args...)
}

func labAt(t *testing.T, state, netns string, args ...string) {
	t.Helper()
	command := exec.Command("../../deploy/testbed/libvirt-up.sh", append(args, "--state", state, "--netns", netns)...)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	command.WaitDelay = time.Second // the daemons live on
	if err := command.Run(); err != nil && command.ProcessState.ExitCode() != 0 {
		t.Fatalf("libvirt-up.sh %v: %v\n%s", args, err, out.String())
	}
}

// processOf is the process of a guest.
func processOf(t *testing.T, guest string) int {
	t.Helper()
	return pidOf(t, filepath.Join("qemu", guest+".pid"))
}

func pidOf(t *testing.T, file string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(labEnv(t, "HOSTMETER_TEST_LIBVIRT_STATE"), "run", file))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// tapCounter reads what the kernel counts on a tap. What the guest sends, the tap receives.
func tapCounter(t *testing.T, tap, counter string) uint64 {
	t.Helper()
	out, err := exec.Command("ip", "netns", "exec", labEnv(t, "HOSTMETER_TEST_LIBVIRT_NETNS"), "cat", "/sys/class/net/"+tap+"/statistics/"+counter).Output()
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// copyOf is the XML of a guest like base, with a name, a number of its own, and other words replaced.
func copyOf(t *testing.T, base, name string, number int, replace ...string) string {
	t.Helper()
	xml := virsh(t, "dumpxml", "--inactive", base)
	between := func(from, to string) string {
		_, rest, _ := strings.Cut(xml, from)
		text, _, found := strings.Cut(rest, to)
		if !found {
			t.Fatalf("no %s in the XML of %s", from, base)
		}
		return from + text + to
	}
	xml = strings.NewReplacer(append(replace,
		"<name>"+base+"</name>", "<name>"+name+"</name>",
		between("<uuid>", "</uuid>"), "<uuid>"+uuidOf(number)+"</uuid>",
		between("<mac address='", "'"), fmt.Sprintf("<mac address='52:54:00:00:ff:%02x'", number),
		base+"-0", name+"-0",
	)...).Replace(xml)
	file := filepath.Join(t.TempDir(), name+".xml")
	if err := os.WriteFile(file, []byte(xml), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func uuidOf(number int) string { return fmt.Sprintf("00000000-0000-4000-8000-00000000ff%02x", number) }

// create starts a transient guest, which ends with the test at the latest.
func create(t *testing.T, xml, name string) {
	t.Helper()
	virsh(t, "create", xml)
	t.Cleanup(func() { _ = exec.Command("virsh", "-q", "-c", realURI(t), "destroy", name).Run() })
}

// inNetns runs f in the namespace of the taps.
func inNetns(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		space, err := os.Open("/run/netns/" + os.Getenv("HOSTMETER_TEST_LIBVIRT_NETNS"))
		if err == nil {
			defer func() { _ = space.Close() }()
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

// sendFrames sends frames of 200 octets onto the guests' bridge, from where a gateway would be.
func sendFrames(t *testing.T, destination string, count int) {
	t.Helper()
	to, err := net.ParseMAC(destination)
	if err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 200)
	copy(frame, to)
	copy(frame[6:], []byte{2, 0, 0, 0, 0, 0xfe})
	frame[12], frame[13] = 0x88, 0xb5 // for experiments
	inNetns(t, func() error {
		gateway, err := net.InterfaceByName("lvgw1")
		if err != nil {
			return err
		}
		socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(socket) }()
		for range count {
			if err := unix.Sendto(socket, frame, 0, &unix.SockaddrLinklayer{Ifindex: gateway.Index}); err != nil {
				return err
			}
		}
		return nil
	})
}

// eventually waits for what other processes do.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never %s", what)
		}
	}
}

// book adds up what the polls of a host bill.
type book struct {
	cpu, steal, capacity map[string]time.Duration // by name
	off                  map[string]int           // how often it was told of that the guest is off
	vnics                map[schemas.MeterID]VNICUsage
	sum                  Difference
}

func newBook() *book {
	return &book{
		cpu: map[string]time.Duration{}, steal: map[string]time.Duration{}, capacity: map[string]time.Duration{},
		off:   map[string]int{},
		vnics: map[schemas.MeterID]VNICUsage{},
	}
}

func (b *book) add(p poll) {
	for _, g := range p.expected.Guests {
		b.cpu[g.Name] += time.Duration(g.CpuNanoseconds)
		b.steal[g.Name] += time.Duration(g.StealNanoseconds)
		b.capacity[g.Name] += time.Duration(g.CapacityNanoseconds)
		if g.State == off {
			b.off[g.Name]++
		}
	}
	for _, v := range p.expected.VNICs {
		sum := b.vnics[v.Meter]
		sum.InOctets, sum.InPackets = sum.InOctets+v.InOctets, sum.InPackets+v.InPackets
		sum.OutOctets, sum.OutPackets = sum.OutOctets+v.OutOctets, sum.OutPackets+v.OutPackets
		b.vnics[v.Meter] = sum
	}
	b.sum.First += p.expected.First
	b.sum.Stopped += p.expected.Stopped
	b.sum.Restarted += p.expected.Restarted
	b.sum.Resets += p.expected.Resets
	b.sum.Unanswered += p.expected.Unanswered
}

// until polls on until enough says so, and returns the poll that did it.
func (b *book) until(t *testing.T, polls <-chan poll, what string, enough func(poll) bool) poll {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); ; {
		p := next(t, polls)
		b.add(p)
		if enough(p) {
			return p
		}
		if time.Now().After(deadline) {
			t.Fatalf("never %s; last %+v", what, p)
		}
	}
}
