//go:build cgo && linux && (libvirt_dlopen || libvirt_linked)

package libvirt

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hostmeter/schemas"
)

// The real libvirt that deploy/testbed/libvirt-up.sh starts, with at least the guests spin1, halt1,
// halt2 and talk1:
//
//	deploy/testbed/libvirt-up.sh up --state DIR --netns NAME --halt 2
//	HOSTMETER_TEST_LIBVIRT='qemu+unix:///system?socket=DIR/run/libvirt-sock' HOSTMETER_TEST_LIBVIRT_STATE=DIR \
//	HOSTMETER_TEST_LIBVIRT_NETNS=NAME go test -tags libvirt_dlopen -run Real ./collector/libvirt
//
// What a guest can get depends on what else runs on the machine: no test expects more than that run and
// waited time add up, and no test expects anything by the clock but that it comes at all.
func realURI(t *testing.T) string {
	t.Helper()
	uri := os.Getenv("HOSTMETER_TEST_LIBVIRT")
	if uri == "" {
		const why = "HOSTMETER_TEST_LIBVIRT is not set: NOTHING is tested against a real libvirt; run deploy/testbed/libvirt-up.sh up and set it to the URI"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip("SKIPPED: " + why)
	}
	takeLab(t)
	return uri
}

func virsh(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("virsh", append([]string{"-q", "-c", realURI(t)}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("virsh %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// poll is one poll with what it made of it.
type poll struct {
	at       time.Time
	guests   map[string]schemas.GuestReading // by name
	usage    map[string]*schemas.GuestUsage
	vnics    map[schemas.MeterID]VNICUsage
	expected Difference
}

// watch polls every second until the test ends.
func watch(t *testing.T) <-chan poll {
	t.Helper()
	return watchHost(t, Config{Name: "hv1", URI: realURI(t), Every: time.Second}, Deps{})
}

func watchHost(t *testing.T, cfg Config, deps Deps) <-chan poll {
	t.Helper()
	polls := make(chan poll, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	host := NewHost(cfg.Name)
	done.Go(func() {
		err := Poll(ctx, cfg, deps, func(at time.Time, readings []schemas.GuestReading) {
			p := poll{at: at, guests: map[string]schemas.GuestReading{}, usage: map[string]*schemas.GuestUsage{}, vnics: map[schemas.MeterID]VNICUsage{}}
			for _, r := range readings {
				p.guests[r.Name] = r
			}
			p.expected = host.Advance(at, readings)
			for _, g := range p.expected.Guests {
				p.usage[g.Name] = g
			}
			for _, v := range p.expected.VNICs {
				p.vnics[v.Meter] = v
			}
			polls <- p
		})
		if err != nil {
			t.Errorf("Poll: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	return polls
}

func next(t *testing.T, polls <-chan poll) poll {
	t.Helper()
	select {
	case p := <-polls:
		return p
	case <-time.After(30 * time.Second):
		t.Fatal("no poll within 30s")
		panic("unreachable")
	}
}

// TestRealCPU sees the spinner at 100 % of its capacity, run or waited for, and the halted at 0.
func TestRealCPU(t *testing.T) {
	realURI(t)
	polls := watch(t)
	next(t, polls) // the baseline
	type sum struct{ cpu, steal, capacity float64 }
	sums := map[string]*sum{"spin1": {}, "halt1": {}}
	for range 8 {
		p := next(t, polls)
		for name, s := range sums {
			if u := p.usage[name]; u != nil {
				s.cpu += float64(u.CpuNanoseconds)
				s.steal += float64(u.StealNanoseconds)
				s.capacity += float64(u.CapacityNanoseconds)
			}
		}
	}
	spin, halt := sums["spin1"], sums["halt1"]
	t.Logf("spin1: cpu %.1f %%, steal %.1f %%; halt1: cpu %.1f %%",
		100*spin.cpu/spin.capacity, 100*spin.steal/spin.capacity, 100*halt.cpu/halt.capacity)
	if share := (spin.cpu + spin.steal) / spin.capacity; share < 0.95 || share > 1.10 {
		t.Errorf("spin1 ran or waited for %.3f of its capacity, want 1", share)
	}
	if share := halt.cpu / halt.capacity; share > 0.05 {
		t.Errorf("halt1 used %.3f of its capacity, want 0", share)
	}
}

// TestRealVNIC compares what talk1 sent with the counters of its tap, which the kernel keeps.
func TestRealVNIC(t *testing.T) {
	realURI(t)
	tap := func(counter string) uint64 { return tapCounter(t, "talk1-0", counter) }
	polls := watch(t)
	first := next(t, polls)
	var out, outPackets, in uint64
	var last poll
	for range 4 {
		last = next(t, polls)
		for meter, v := range last.vnics {
			if strings.HasSuffix(string(meter), first.guests["talk1"].VNICs[0].MAC) {
				out, outPackets, in = out+v.OutOctets, outPackets+v.OutPackets, in+v.InOctets
			}
		}
	}
	// Suspended, it sends nothing more, and the two counters can be compared to the octet.
	virsh(t, "suspend", "talk1")
	defer virsh(t, "resume", "talk1")
	for deadline := time.Now().Add(20 * time.Second); ; {
		last = next(t, polls)
		for meter, v := range last.vnics {
			if strings.HasSuffix(string(meter), first.guests["talk1"].VNICs[0].MAC) {
				out, outPackets, in = out+v.OutOctets, outPackets+v.OutPackets, in+v.InOctets
			}
		}
		if last.guests["talk1"].State == schemas.GuestState_GUEST_STATE_PAUSED && len(last.vnics) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("talk1 is still %v", last.guests["talk1"])
		}
	}
	begin := first.guests["talk1"].VNICs[0]
	// What the guest sent, the host's end of the tap received.
	if want := tap("rx_bytes") - begin.OutOctets; out != want || out == 0 {
		t.Errorf("talk1 sent %d octets by libvirt, %d by its tap", out, want)
	}
	if want := tap("rx_packets") - begin.OutPackets; outPackets != want {
		t.Errorf("talk1 sent %d packets by libvirt, %d by its tap", outPackets, want)
	}
	if want := tap("tx_bytes") - begin.InOctets; in != want {
		t.Errorf("talk1 received %d octets by libvirt, %d by its tap", in, want)
	}
	t.Logf("talk1 sent %d octets in %d packets, received %d octets: equal to its tap", out, outPackets, in)
	if u := last.usage["talk1"]; u == nil || u.State != schemas.GuestState_GUEST_STATE_PAUSED || u.CapacityNanoseconds == 0 {
		t.Errorf("paused talk1: %v, want its capacity observed", u)
	}
}

// TestRealOff shuts a guest off: from then on it has no CPU, although the daemon states some.
func TestRealOff(t *testing.T) {
	realURI(t)
	polls := watch(t)
	next(t, polls)
	virsh(t, "destroy", "halt2")
	defer virsh(t, "start", "halt2")
	seen := 0
	for deadline := time.Now().Add(30 * time.Second); seen < 3; {
		if time.Now().After(deadline) {
			t.Fatal("halt2 was not seen off")
		}
		p := next(t, polls)
		if p.guests["halt2"].State != schemas.GuestState_GUEST_STATE_OFF {
			continue
		}
		seen++
		switch u := p.usage["halt2"]; {
		case seen == 1 && (u == nil || u.State == schemas.GuestState_GUEST_STATE_RUNNING || u.CpuNanoseconds != 0 || u.CapacityNanoseconds != 0):
			t.Fatalf("halt2 went off: %v, want no CPU and no capacity", u)
		case seen > 1 && u != nil:
			t.Fatalf("halt2 stays off: %v, want nothing", u)
		}
		if u := p.usage["spin1"]; u == nil || u.CapacityNanoseconds == 0 {
			t.Fatalf("spin1 beside it: %v", u)
		}
	}
}

// TestRealRestart stops and starts a guest: its counters begin anew and are counted from 0.
func TestRealRestart(t *testing.T) {
	realURI(t)
	polls := watch(t)
	before := next(t, polls)
	virsh(t, "destroy", "talk1")
	virsh(t, "start", "talk1")
	var cpu uint64
	var p poll
	for range 4 {
		p = next(t, polls)
		if u := p.usage["talk1"]; u != nil {
			cpu += u.CpuNanoseconds
			if u.CpuNanoseconds > u.CapacityNanoseconds+uint64(2*time.Second) {
				t.Fatalf("talk1 used %v", u)
			}
		}
	}
	t.Logf("talk1: cpu.time was %.2fs before, is %.2fs; counted %.2fs",
		float64(before.guests["talk1"].CPUNanoseconds)/1e9, float64(p.guests["talk1"].CPUNanoseconds)/1e9, float64(cpu)/1e9)
	if now := p.guests["talk1"]; now.State != schemas.GuestState_GUEST_STATE_RUNNING || !now.CPUKnown || cpu < now.CPUNanoseconds {
		t.Fatalf("talk1 runs anew with %v, counted %d", now, cpu)
	}
}

// TestRealHungGuest stops the process of a guest: the poll goes on for all others.
func TestRealHungGuest(t *testing.T) {
	realURI(t)
	pid := processOf(t, "halt1")
	polls := watch(t)
	next(t, polls)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume := sync.OnceFunc(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	defer resume()
	began := time.Now()
	answered, unanswered := 0, uint64(0)
	for time.Since(began) < 12*time.Second {
		p := next(t, polls)
		if u := p.usage["spin1"]; u != nil && u.CapacityNanoseconds > 0 {
			answered++
		}
		unanswered += p.expected.Unanswered
	}
	t.Logf("in %v beside a hung guest: %d polls of spin1, %d times halt1 did not answer", time.Since(began).Round(time.Second), answered, unanswered)
	if answered < 4 {
		t.Fatalf("spin1 was read %d times in 12s beside a hung guest", answered)
	}
	resume()
	for deadline := time.Now().Add(60 * time.Second); ; {
		if u := next(t, polls).usage["halt1"]; u != nil && u.CapacityNanoseconds > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("halt1 was not read after it went on")
		}
	}
}

// TestRealNoHost shows what a user sees of a host that is not there.
func TestRealNoHost(t *testing.T) {
	realURI(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var once sync.Once
	var got error
	cfg := Config{Name: "hv2", URI: fmt.Sprintf("qemu+unix:///system?socket=%s/none", t.TempDir()), Every: time.Second}
	err := Poll(ctx, cfg, Deps{Failed: func(err error) { once.Do(func() { got = err; cancel() }) }}, nil)
	if err != nil || got == nil || !strings.Contains(got.Error(), "connect to hv2") {
		t.Fatalf("Poll %v, failed with %v", err, got)
	}
	t.Log(got)
}
