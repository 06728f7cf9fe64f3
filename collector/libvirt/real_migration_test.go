//go:build cgo && linux && (libvirt_dlopen || libvirt_linked)

package libvirt

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// secondLab starts another daemon, with a namespace and a bridge of its own: another host.
func secondLab(t *testing.T) (uri string) {
	t.Helper()
	// Beside the first: a socket's path must be short.
	state, netns := labEnv(t, "HOSTMETER_TEST_LIBVIRT_STATE")+"-2", labEnv(t, "HOSTMETER_TEST_LIBVIRT_NETNS")+"2"
	for _, kind := range []string{"NSPIN", "NHALT", "NTALK"} {
		t.Setenv(kind, "0")
	}
	t.Cleanup(func() { labAt(t, state, netns, "down") })
	labAt(t, state, netns, "up")
	return "qemu+unix:///system?socket=" + filepath.Join(state, "run", "libvirt-sock")
}

// TestRealMigration moves a spinning guest to another host and back, live. It is in both hosts' lists
// for a while, with one process each; together they bill the time of one guest.
func TestRealMigration(t *testing.T) {
	from := realURI(t)
	to := secondLab(t)
	socket := filepath.Join(labEnv(t, "HOSTMETER_TEST_LIBVIRT_STATE"), "move")
	xml := copyOf(t, "spin1", "hm-move", 0x16, "domain type='kvm'", "domain type='qemu'")
	create(t, xml, "hm-move")
	t.Cleanup(func() { _ = exec.Command("virsh", "-q", "-c", to, "destroy", "hm-move").Run() })
	migrate := func(from, to string) {
		t.Helper()
		_ = os.Remove(socket)
		out, err := exec.Command("virsh", "-q", "-c", from, "migrate", "--live", "hm-move", to, "--migrateuri", "unix://"+socket).CombinedOutput()
		if err != nil {
			t.Fatalf("migrate: %v\n%s", err, out)
		}
	}
	hosts := []<-chan poll{
		watchHost(t, Config{Name: "hv1", URI: from, Every: time.Second}, Deps{}),
		watchHost(t, Config{Name: "hv2", URI: to, Every: time.Second}, Deps{}),
	}
	books := []*book{newBook(), newBook()}
	runsOn := func(i int) poll {
		t.Helper()
		books[i].until(t, hosts[i], "on its host", func(p poll) bool { return p.guests["hm-move"].State == running })
		var last poll
		for range 4 {
			last = books[i].until(t, hosts[i], "used CPU there", func(p poll) bool { return p.usage["hm-move"] != nil })
		}
		return last
	}
	first := next(t, hosts[0])
	runsOn(0)
	for _, move := range [][2]int{{0, 1}, {1, 0}} {
		uris := []string{from, to}
		migrate(uris[move[0]], uris[move[1]])
		books[move[0]].until(t, hosts[move[0]], "gone", func(p poll) bool { return p.guests["hm-move"].UUID == "" })
		runsOn(move[1])
	}
	last := runsOn(0)
	elapsed := last.at.Sub(first.at)
	var busy, capacity time.Duration
	for i, b := range books {
		busy += b.cpu["hm-move"] + b.steal["hm-move"]
		capacity += b.capacity["hm-move"]
		t.Logf("hv%d: CPU %v, steal %v of %v; first %d, stopped %d, restarted %d", i+1,
			b.cpu["hm-move"].Round(time.Millisecond), b.steal["hm-move"].Round(time.Millisecond), b.capacity["hm-move"].Round(time.Millisecond), b.sum.First, b.sum.Stopped, b.sum.Restarted)
		if b.sum.Restarted != 0 || b.sum.Resets != 0 {
			t.Errorf("hv%d: %+v, want no process that was taken to begin at 0", i+1, b.sum)
		}
	}
	// It is always on one host; a poll's length at each end is not observed, or by both.
	if capacity > elapsed+2*time.Second || busy > elapsed+2*time.Second || capacity < elapsed/3 {
		t.Errorf("in %v both hosts billed %v of %v", elapsed, busy, capacity)
	}
	if moved := strings.ToLower(last.guests["hm-move"].UUID); moved != uuidOf(0x16) || !last.guests["hm-move"].Arrived {
		t.Errorf("%+v, want the guest that arrived", last.guests["hm-move"])
	}
}
