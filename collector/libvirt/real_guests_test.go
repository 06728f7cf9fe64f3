//go:build cgo && linux && (libvirt_dlopen || libvirt_linked)

package libvirt

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hostmeter/schemas"
)

// TestRealEvents polls every five minutes: what is seen of a guest sooner, events brought.
func TestRealEvents(t *testing.T) {
	realURI(t)
	xml := copyOf(t, "halt1", "hm-event", 0x10)
	polls := watchHost(t, Config{Name: "hv1", URI: realURI(t), Every: 5 * time.Minute}, Deps{})
	b := newBook()
	b.until(t, polls, "polled", func(poll) bool { return true })
	step := func(what string, do func(), enough func(poll) bool) poll {
		t.Helper()
		do()
		began := time.Now()
		p := b.until(t, polls, what, enough)
		t.Logf("%s: seen after %v", what, time.Since(began).Round(time.Millisecond))
		return p
	}
	guest := func(p poll) schemas.GuestReading { return p.guests["hm-event"] }
	step("a transient guest started", func() { create(t, xml, "hm-event") }, func(p poll) bool { return guest(p).State == running })
	step("suspended", func() { virsh(t, "suspend", "hm-event") }, func(p poll) bool { return guest(p).State == paused })
	step("resumed", func() { virsh(t, "resume", "hm-event") }, func(p poll) bool { return guest(p).State == running })
	// Off first or gone at once, as the poll falls: it is told of once.
	step("gone", func() { virsh(t, "destroy", "hm-event") }, func(p poll) bool { return guest(p).UUID == "" })
	if b.off["hm-event"] != 1 || b.sum.Stopped != 1 {
		t.Errorf("a transient guest that ended: told of %d times, %d stopped; want once", b.off["hm-event"], b.sum.Stopped)
	}
	if b.capacity["hm-event"] == 0 || b.cpu["hm-event"] > b.capacity["hm-event"]+time.Second {
		t.Errorf("hm-event: %v of %v", b.cpu["hm-event"], b.capacity["hm-event"])
	}
}

// TestRealLife leads one guest through everything that starts, stops, renames and resets it. Its time is
// counted once, what was not seen of its ends is declared, and nothing is taken for a lost counter.
func TestRealLife(t *testing.T) {
	uri := realURI(t)
	xml := copyOf(t, "halt1", "hm-life", 0x11)
	virsh(t, "define", xml)
	t.Cleanup(func() {
		for _, name := range []string{"hm-life", "hm-renamed"} {
			_ = exec.Command("virsh", "-q", "-c", uri, "destroy", name).Run()
			_ = exec.Command("virsh", "-q", "-c", uri, "undefine", "--managed-save", name).Run()
		}
	})
	polls := watch(t)
	b := newBook()
	began := next(t, polls).at
	name := "hm-life"
	through := func(state schemas.GuestState, enough func(schemas.GuestReading) bool, what string, args ...string) schemas.GuestReading {
		t.Helper()
		if len(args) > 0 {
			virsh(t, args...)
		}
		var r schemas.GuestReading
		// A guest that is on is seen once its CPU time is told, which a busy monitor may take a while for.
		is := func(p poll) bool {
			r = p.guests[name]
			return r.State == state && (!runs(state) || r.CPUKnown)
		}
		b.until(t, polls, what, func(p poll) bool { return is(p) && (enough == nil || enough(r)) })
		b.until(t, polls, what+" for a while", is)
		return r
	}
	first := through(running, nil, "started", "start", name)
	reset := through(running, nil, "reset", "reset", name)
	if reset.Process != first.Process || reset.CPUNanoseconds < first.CPUNanoseconds {
		t.Errorf("after a reset process %d has %d ns, before it %d had %d: it is the same one", reset.Process, reset.CPUNanoseconds, first.Process, first.CPUNanoseconds)
	}
	if b.sum.Restarted != 1 {
		t.Errorf("%d processes began, want 1", b.sum.Restarted)
	}
	through(paused, nil, "suspended", "suspend", name)
	through(running, nil, "resumed", "resume", name)
	through(off, nil, "saved", "managedsave", name)
	restored := through(running, nil, "restored", "start", name)
	if restored.Process == first.Process {
		t.Error("a restored guest has the process that was saved")
	}
	if err := syscall.Kill(processOf(t, name), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var state schemas.GuestState
	b.until(t, polls, "crashed", func(p poll) bool { state = p.guests[name].State; return !runs(state) && state != 0 })
	t.Logf("after its process was killed: %v", state)
	virsh(t, "domrename", name, "hm-renamed")
	name = "hm-renamed"
	through(running, nil, "started under another name", "start", name)
	through(off, nil, "destroyed", "destroy", name)
	end := next(t, polls)
	if uuid := strings.ToLower(end.guests[name].UUID); uuid != uuidOf(0x11) {
		t.Errorf("the renamed guest is %s", uuid)
	}
	if b.sum.Restarted != 3 || b.sum.Stopped != 3 || b.sum.Resets != 0 {
		t.Errorf("%d processes began, %d ended, %d counters were reset; want 3, 3, 0", b.sum.Restarted, b.sum.Stopped, b.sum.Resets)
	}
	cpu, capacity := b.cpu["hm-life"]+b.cpu["hm-renamed"], b.capacity["hm-life"]+b.capacity["hm-renamed"]
	t.Logf("CPU %v of %v, in %v", cpu, capacity, end.at.Sub(began).Round(time.Second))
	if capacity <= 0 || capacity > end.at.Sub(began) || cpu < 0 || cpu > capacity {
		t.Errorf("CPU %v of %v, in %v", cpu, capacity, end.at.Sub(began))
	}
}

// TestRealResize plugs a vCPU: capacity is what the vCPUs of the time could do.
func TestRealResize(t *testing.T) {
	realURI(t)
	xml := copyOf(t, "halt1", "hm-resize", 0x12, "<vcpu placement='static'>1</vcpu>", "<vcpu placement='static' current='1'>2</vcpu>")
	polls := watch(t)
	next(t, polls)
	create(t, xml, "hm-resize")
	b := newBook()
	exactly := func(vcpus int64) func(poll) bool {
		return func(p poll) bool {
			u := p.usage["hm-resize"]
			return u != nil && u.CapacityNanoseconds == uint64(vcpus*(u.To-u.From)) && int64(u.Vcpus) == vcpus
		}
	}
	b.until(t, polls, "with one vCPU", exactly(1))
	virsh(t, "setvcpus", "hm-resize", "2", "--live")
	b.until(t, polls, "with two vCPUs", exactly(2))
	b.until(t, polls, "still with two vCPUs", exactly(2))
}

// TestRealHotplug plugs and unplugs interfaces. Their indexes move; none gets what another counted, and
// one that a guest does not let go of is counted on.
func TestRealHotplug(t *testing.T) {
	realURI(t)
	create(t, copyOf(t, "talk1", "hm-plug", 0x13), "hm-plug")
	create(t, copyOf(t, "halt1", "hm-keep", 0x14), "hm-keep")
	second := filepath.Join(t.TempDir(), "second.xml")
	if err := os.WriteFile(second, []byte(`<interface type='bridge'><source bridge='lvbr0'/><target dev='hm-plug-1'/>
<mac address='52:54:00:00:fe:13'/><model type='rtl8139'/></interface>`), 0o600); err != nil {
		t.Fatal(err)
	}
	polls := watch(t)
	b := newBook()
	b.until(t, polls, "seen", func(p poll) bool { return p.guests["hm-plug"].State == running && p.guests["hm-keep"].State == running })
	const nowhere = "02:00:00:00:00:99"
	sendFrames(t, nowhere, 300) // every interface gets them
	first, plugged := schemas.VNICMeter(uuidOf(0x13), "52:54:00:00:ff:13"), schemas.VNICMeter(uuidOf(0x13), "52:54:00:00:fe:13")
	kept := schemas.VNICMeter(uuidOf(0x14), "52:54:00:00:ff:14")
	b.until(t, polls, "300 frames in", func(poll) bool { return b.vnics[first].InPackets == 300 })

	virsh(t, "attach-device", "hm-plug", second, "--live")
	b.until(t, polls, "two interfaces", func(p poll) bool { return len(p.guests["hm-plug"].VNICs) == 2 })
	sendFrames(t, nowhere, 40)
	b.until(t, polls, "40 frames in the plugged interface", func(poll) bool { return b.vnics[plugged].InPackets == 40 })

	virsh(t, "detach-interface", "hm-plug", "bridge", "52:54:00:00:ff:13", "--live")
	virsh(t, "detach-interface", "hm-keep", "bridge", "52:54:00:00:ff:14", "--live") // which a halted guest ignores
	b.until(t, polls, "the first interface gone", func(p poll) bool {
		v := p.guests["hm-plug"].VNICs
		return len(v) == 1 && v[0].Target == "hm-plug-1"
	})
	sendFrames(t, nowhere, 5)
	b.until(t, polls, "5 more frames in", func(poll) bool { return b.vnics[plugged].InPackets == 45 && b.vnics[kept].InPackets == 345 })
	b.add(next(t, polls))
	for meter, want := range map[schemas.MeterID]uint64{first: 340, plugged: 45, kept: 345} {
		if got := b.vnics[meter]; got.InPackets != want || got.InOctets != 200*want {
			t.Errorf("%s received %d octets in %d frames, want %d frames of 200", meter, got.InOctets, got.InPackets, want)
		}
	}
	if b.sum.Resets != 0 {
		t.Errorf("%d counters were taken for reset", b.sum.Resets)
	}
}

// TestRealFloodedFrames shows that a bridge charges silent guests for frames to an address that nobody
// has, and that a port without flooding, whose guest's address the bridge was told, gets its own only.
func TestRealFloodedFrames(t *testing.T) {
	realURI(t)
	polls := watch(t)
	next(t, polls)
	b := newBook()
	flooded, spared := schemas.VNICMeter("00000000-0000-4000-8000-000000000003", "52:54:00:00:00:03"), schemas.VNICMeter("00000000-0000-4000-8000-000000000002", "52:54:00:00:00:02")
	const nowhere = "02:00:00:00:00:99"
	sendFrames(t, nowhere, 500)
	b.until(t, polls, "500 frames in both silent guests", func(poll) bool { return b.vnics[flooded].InPackets == 500 && b.vnics[spared].InPackets == 500 })
	bridge := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("bridge", append([]string{"-n", labEnv(t, "HOSTMETER_TEST_LIBVIRT_NETNS")}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("bridge %v: %v\n%s", args, err, out)
		}
	}
	const own = "52:54:00:00:00:02"
	bridge("link", "set", "dev", "halt1-0", "flood", "off")
	bridge("fdb", "add", own, "dev", "halt1-0", "master", "static")
	t.Cleanup(func() {
		bridge("link", "set", "dev", "halt1-0", "flood", "on")
		bridge("fdb", "del", own, "dev", "halt1-0", "master")
	})
	sendFrames(t, nowhere, 500)
	b.until(t, polls, "1000 frames in the other", func(poll) bool { return b.vnics[flooded].InPackets == 1000 })
	sendFrames(t, own, 7)
	b.until(t, polls, "7 frames of its own", func(poll) bool { return b.vnics[spared].InPackets >= 507 })
	b.add(next(t, polls))
	for meter, want := range map[schemas.MeterID]uint64{spared: 507, flooded: 1000} {
		if got := b.vnics[meter]; got.InPackets != want || got.InOctets != 200*want {
			t.Errorf("%s received %d octets in %d frames, want %d frames of 200", meter, got.InOctets, got.InPackets, want)
		}
	}
	t.Log("two silent guests were charged 100000 octets each by 500 flooded frames; the one whose port floods no more, none by 500 more")
}

// TestRealManyHungGuests stops more guests than calls may hang: the others are read on, with their CPU
// time, and the daemon still has threads for everybody else.
func TestRealManyHungGuests(t *testing.T) {
	realURI(t)
	create(t, copyOf(t, "halt1", "hm-hung", 0x15), "hm-hung")
	polls := watch(t)
	next(t, polls)
	for _, guest := range []string{"halt1", "halt2", "talk1", "hm-hung"} {
		pid := processOf(t, guest)
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	}
	b := newBook()
	b.until(t, polls, "read without monitors", func(p poll) bool { return p.guests["spin1"].StealUnknown })
	before := b.cpu["spin1"]
	began := time.Now()
	b.until(t, polls, "more CPU time of spin1", func(poll) bool { return b.cpu["spin1"] > before+time.Second/2 })
	virsh(t, "list") // does not wait
	if b.sum.Unanswered != 0 {
		t.Errorf("%d readings had no CPU time", b.sum.Unanswered)
	}
	t.Logf("beside four hung guests: spin1's CPU time goes on, seen %v after", time.Since(began).Round(time.Second))
	for _, guest := range []string{"halt1", "halt2", "talk1", "hm-hung"} {
		_ = syscall.Kill(processOf(t, guest), syscall.SIGCONT)
	}
	b.until(t, polls, "steal again", func(p poll) bool { return !p.guests["spin1"].StealUnknown })
	if share := float64(b.cpu["spin1"]+b.steal["spin1"]) / float64(b.capacity["spin1"]); share < 0.90 || share > 1.10 {
		t.Errorf("spin1 ran or waited for %.2f of its capacity, want 1", share)
	}
}
