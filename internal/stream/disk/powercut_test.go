package disk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk/faultdisk"
	"hostmeter/internal/stream/streamtest"
	"hostmeter/schemas"
)

// story appends until the disk dies, with faults and openings between, and notes what was told.
type story struct {
	*harness
	// undecided are the appends whose outcome nobody was told: the numbers of each.
	undecided [][]uint64
}

// tell runs a fixed story: appends of one and of several batches a shard, over several segments, a full
// disk, a failed fsync, and an orderly reopening. It ends early where the process dies.
func (s *story) tell() {
	for step := range 14 {
		switch step {
		case 4:
			s.disk.Set(faultdisk.Faults{Bounded: true, Room: 700})
		case 6:
			s.disk.Heal()
			s.disk.Set(faultdisk.Faults{FailSync: unix.EIO})
		case 10:
			_ = s.log.Close()
			if err := s.tryOpen(); err != nil {
				return
			}
		}
		if !s.group(1+step%3, 40+97*step) {
			return
		}
	}
}

// group appends count batches a shard in one call; false: the process is dead.
func (s *story) group(count, size int) bool {
	s.t.Helper()
	var group []*schemas.Batch
	var numbers []uint64
	for range count {
		for shard := range uint32(testShards) {
			s.number++
			numbers = append(numbers, s.number)
			group = append(group, streamtest.Batch(shard, s.number, size))
		}
	}
	err := s.log.Append(context.Background(), group)
	for _, b := range group {
		switch {
		case err == nil:
			s.kept[stream.KeyOf(b)] = append(s.kept[stream.KeyOf(b)], streamtest.Number(b))
		case !s.disk.Crashed():
			s.refused[streamtest.Number(b)] = true
		}
	}
	if s.disk.Crashed() && err != nil {
		s.undecided = append(s.undecided, numbers)
	}
	return !s.disk.Crashed()
}

// found checks what a disk holds after the process died: all that was acknowledged, in its order, nothing
// that was refused, and of what nobody was told about all of an append or nothing.
func (s *story) found() {
	s.t.Helper()
	got, _ := readAll(s.t, s.log, 0) // fails on a gap
	there := map[uint64]bool{}
	for key, numbers := range got {
		for i, number := range numbers {
			there[number] = true
			if s.refused[number] {
				s.t.Fatalf("%s: batch %d was refused, and is there", key, number)
			}
			if i < len(s.kept[key]) && number != s.kept[key][i] {
				s.t.Fatalf("%s: %v, want %v first", key, numbers, s.kept[key])
			}
		}
	}
	for key, numbers := range s.kept {
		if len(got[key]) < len(numbers) {
			s.t.Fatalf("%s: %v were acknowledged, %v are there", key, numbers, got[key])
		}
	}
	for _, numbers := range s.undecided {
		n := 0
		for _, number := range numbers {
			if there[number] {
				n++
			}
		}
		if n != 0 && n != len(numbers) {
			s.t.Fatalf("%d of the %d batches of an append that was under way are there", n, len(numbers))
		}
	}
}

// The process dies at every single operation that changes the disk, and then the power goes or not, in
// several ways. It happens again while the log is opened after it.
func TestCrashAtEveryWrite(t *testing.T) {
	operations := func() int {
		s := &story{harness: newHarness(t)}
		begun := s.disk.Operations() // opening an empty folder
		s.tell()
		return s.disk.Operations() - begun
	}()
	crashes, what := 0, ""
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(what)
		}
	})
	for at := 1; at <= operations; at++ {
		for seed := range uint64(8) {
			func() {
				what = fmt.Sprintf("operation %d of %d, seed %d", at, operations, seed)
				random := rand.New(rand.NewPCG(seed, uint64(at)))
				s := &story{harness: newHarness(t)}
				s.disk.CrashAt(at)
				s.tell()
				for again := range 3 { // the power may go again while it recovers
					if seed%2 == 0 {
						s.disk.Kill()
					} else {
						s.disk.PowerCut(random)
					}
					crashes++
					if again < 2 {
						s.disk.CrashAt(1 + random.IntN(8))
						if s.tryOpen() == nil && !s.disk.Crashed() {
							s.disk.CrashAt(0)
							break
						}
						continue
					}
					s.open()
				}
				s.found()
				s.kept, _ = readAll(t, s.log, 0) // what a consumer may have read now stays, whatever happens next
				s.undecided = nil
				s.disk.PowerCut(random)
				s.open()
				s.found()
				if !s.group(2, 50) {
					t.Fatal("the disk died again")
				}
				s.found()
				s.reopen()
				s.found()
			}()
		}
	}
	t.Logf("%d operations, %d crashes", operations, crashes)
	if operations < 60 {
		t.Fatalf("only %d operations: the story has become too short to prove anything", operations)
	}
}

// What a power cut leaves of an append that was under way is all or nothing: a collector that comes back
// declares as lost exactly what is not there.
func TestAppendIsWholeOrAbsent(t *testing.T) {
	for cut := range 60 {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			s := &story{harness: newHarness(t)}
			s.group(1, 10)
			before := s.log.active.segments[0].size
			s.group(2, 400)
			path := s.log.active.segments[0].path
			content := contentOf(t, s.harness, path)
			s.disk.Kill()
			all := int64(len(content)) - before
			s.disk.WriteFile(path, content[:before+all*int64(cut)/60])
			s.open()
			got, _ := readAll(t, s.log, 0)
			for key, numbers := range got {
				if len(numbers) != 1 {
					t.Fatalf("%s: %v of an append that is not whole", key, numbers)
				}
			}
		})
	}
}

// A process dies right after a failed fsync. The next one finds what that left in the kernel's memory, where it
// counts as clean: what it lets consumers read must be on the disk all the same.
func TestFailedSyncOfADeadProcess(t *testing.T) {
	found := 0
	for seed := range uint64(100) {
		s := &story{harness: newHarness(t)}
		s.group(1, 300)
		for n := range seed % 8 { // what happens in the crash follows from how much has happened before
			if err := s.disk.Mount().Mkdir(fmt.Sprintf("/%d", n)); err != nil {
				t.Fatal(err)
			}
		}
		s.disk.Set(faultdisk.Faults{FailSync: unix.EIO})
		s.disk.CrashAt(3) // behind the write and its fsync
		if s.group(1, 300) {
			t.Fatal("the process has not died")
		}
		s.disk.Kill()
		s.open()
		s.found()
		var read int
		s.kept, read = readAll(t, s.log, 0) // consumers may have read it
		if read > testShards {
			found++
		}
		s.undecided = nil
		s.disk.PowerCut(rand.New(rand.NewPCG(seed, 0)))
		s.open()
		s.found()
	}
	if found == 0 {
		t.Fatal("what had not been synced was never there: this test proves nothing")
	}
}
