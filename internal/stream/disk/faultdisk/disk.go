// Package faultdisk is a disk in memory that fails as disks do: it runs full in the middle of a write,
// tears writes, fails to sync, and at a power cut keeps whatever it likes of what was not synced.
//
// It promises the least that POSIX does. What was written is read back at once; it survives a killed
// process; it survives a power cut only behind a Sync of the file that succeeded, and a name only behind
// a SyncDir of its folder. After a Sync that failed, what had been written is clean in the kernel's eyes: a later
// Sync of the same file succeeds without making it durable, in the next process too, and it is read back until the
// kernel lets it go, which is at once, at the end of the process, or never; of what is let go, the disk has what it
// likes, by sectors. Changes of names reach the disk in their order. A bad block cannot be read until it is written.
package faultdisk

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"

	"hostmeter/internal/stream/disk/files"
)

// ErrCrashed is returned to a process that is dead and does not know it yet.
var ErrCrashed = errors.New("the process that had the disk is gone")

// SectorSize is what a disk writes whole or not at all, BlockSize what a kernel reads at least.
const (
	SectorSize = 512
	BlockSize  = 4096
)

// Disk is a disk. The zero value is not one; New is.
type Disk struct {
	mu sync.Mutex
	// names is what a process sees, stable what a power cut leaves; pending are the changes between.
	names, stable map[string]*node
	pending       []change
	process       int // counts Mounts that were ended
	locks         map[string]int

	operations, syncs, syncsAfterFailure int
	removals                             int
	crashAt                              int // the operation at which the process dies; 0: none
	dead                                 bool
	drawn                                uint64
	struck                               string
	faults                               Faults
}

// Faults are what goes wrong next.
type Faults struct {
	// Room is how many octets fit yet, where Bounded is set.
	Bounded bool
	Room    int64
	// FailSync makes the next Sync of a file fail, once.
	FailSync error
	// Tear makes the next write of more than 64 octets stop in its middle, once.
	Tear error
	// Broken fails everything that changes something.
	Broken error
	// FailReads makes so many reads of files fail, with EIO.
	FailReads int
}

// node is a file or a folder.
type node struct {
	folder  bool
	content []byte
	// synced is what is durable, dirty what was written since. A truncation is a write without octets.
	synced []byte
	dirty  []write
	// failed says that a Sync failed in this process, stale that one failed ever: what it did not make durable is in
	// content, and no Sync will.
	failed, stale bool
	// bad are blocks that cannot be read: how often yet, or -1 for good.
	bad map[int64]int
}

type write struct {
	offset int64
	octets []byte
	size   int64 // of the file behind it
}

// change is one change of names, in the folders that a SyncDir must name to make it durable.
type change struct {
	folders []string
	apply   func(names map[string]*node)
}

// New returns an empty disk.
func New() *Disk {
	d := &Disk{names: map[string]*node{}, stable: map[string]*node{}, locks: map[string]int{}}
	d.names["/"], d.stable["/"] = &node{folder: true}, &node{folder: true}
	return d
}

// Mount returns the disk as a process has it, until Kill or PowerCut.
func (d *Disk) Mount() files.System {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &mount{disk: d, process: d.process}
}

// Set replaces the faults.
func (d *Disk) Set(f Faults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = f
}

// Heal takes all faults away. What failed stays failed.
func (d *Disk) Heal() { d.Set(Faults{}) }

// Struck names the fault that struck last: "disk full", "failed fsync", "torn write", "disk refuses everything".
func (d *Disk) Struck() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.struck
}

// Faulty says whether a fault is set that has not come and gone.
func (d *Disk) Faulty() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.faults != Faults{}
}

// CrashAt lets the process die in the n-th operation from now that changes the disk: half of it may
// still happen. 0 takes it back.
func (d *Disk) CrashAt(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crashAt = 0
	if n > 0 {
		d.crashAt = d.operations + n
	}
}

// Crashed says whether the process has died at CrashAt.
func (d *Disk) Crashed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// Operations is how many operations have changed the disk, Syncs how many of files succeeded, and
// SyncsAfterFailure how often a file was synced again after that had failed.
func (d *Disk) Operations() int { return d.count(&d.operations) }

// Syncs is how many syncs of files succeeded.
func (d *Disk) Syncs() int { return d.count(&d.syncs) }

// SyncsAfterFailure is how often a file was synced again after a sync of it had failed.
func (d *Disk) SyncsAfterFailure() int { return d.count(&d.syncsAfterFailure) }

// Removals is how many files with content processes have removed.
func (d *Disk) Removals() int { return d.count(&d.removals) }

func (d *Disk) count(n *int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return *n
}

// Kill ends the process: its locks are gone, and what it wrote is there.
func (d *Disk) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end()
}

func (d *Disk) end() {
	d.process++
	d.crashAt, d.dead, d.faults = 0, false, Faults{}
	clear(d.locks)
	for _, name := range sortedNames(d.names) {
		n := d.names[name]
		n.failed = false // the next process cannot know
		if d.chance().IntN(2) == 0 {
			n.evict()
		}
	}
}

// chance draws what nobody chose: it follows from what the disk has done.
func (d *Disk) chance() *rand.Rand {
	d.drawn++
	return rand.New(rand.NewPCG(uint64(d.operations), d.drawn))
}

// PowerCut ends the process and leaves what the disk had taken: what was synced, and of the rest
// whatever random says, in sectors.
func (d *Disk) PowerCut(random *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end()
	kept := random.IntN(len(d.pending) + 1)
	for _, c := range d.pending[:kept] {
		c.apply(d.stable)
	}
	d.pending = nil
	d.names = map[string]*node{}
	for _, name := range sortedNames(d.stable) {
		n := d.stable[name]
		n.cut(random)
		d.names[name] = n
	}
}

// cut leaves of a file what a power cut does.
func (n *node) cut(random *rand.Rand) {
	content := reach(n.synced, n.dirty, random)
	n.content, n.synced, n.dirty, n.failed, n.stale = content, slices.Clone(content), nil, false, false
}

// evict lets what a failed sync has left go out of the kernel's memory: what is read is what the disk has.
func (n *node) evict() {
	if !n.stale {
		return
	}
	size := int64(len(n.content))
	n.content, n.stale = slices.Clone(n.synced), false
	for _, w := range n.dirty {
		n.content = w.applied(n.content)
	}
	n.content = resize(n.content, size) // the length is remembered elsewhere
}

func (w write) applied(content []byte) []byte {
	if len(w.octets) == 0 {
		return resize(content, w.size)
	}
	return put(content, w.offset, w.octets)
}

// reach returns a file's content after some of the writes have reached the disk: none, all, or whatever sectors.
func reach(before []byte, writes []write, random *rand.Rand) []byte {
	content := slices.Clone(before)
	every := random.IntN(3) // 0: nothing reached the disk; 1: all did; 2: whatever
	for _, w := range writes {
		switch {
		case every == 0:
		case len(w.octets) == 0:
			if every == 1 || random.IntN(2) == 0 {
				content = resize(content, w.size)
			}
		default:
			for from := 0; from < len(w.octets); {
				to := min(from+SectorSize-int((w.offset+int64(from))%SectorSize), len(w.octets))
				if every == 1 || random.IntN(2) == 0 {
					content = put(content, w.offset+int64(from), w.octets[from:to])
				}
				from = to
			}
		}
	}
	return content
}

func put(content []byte, offset int64, octets []byte) []byte {
	if end := offset + int64(len(octets)); end > int64(len(content)) {
		content = resize(content, end)
	}
	copy(content[offset:], octets)
	return content
}

func resize(content []byte, size int64) []byte {
	if size <= int64(len(content)) {
		return content[:size]
	}
	return append(content, make([]byte, size-int64(len(content)))...)
}

// ReadFile returns what a process reads in a file.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[path.Clean(name)]
	if n == nil || n.folder {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(n.content), nil
}

// WriteFile replaces a file, durably, as a disk that damages it does.
func (d *Disk) WriteFile(name string, content []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name = path.Clean(name)
	n := &node{content: slices.Clone(content), synced: slices.Clone(content)}
	d.names[name], d.stable[name] = n, n
}

// Spoil makes the blocks of a file that hold [from, to) unreadable: so many times, or for good where times is -1.
func (d *Disk) Spoil(name string, from, to int64, times int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[path.Clean(name)]
	if n.bad == nil {
		n.bad = map[int64]int{}
	}
	for block := from / BlockSize; block*BlockSize < to && times != 0; block++ {
		n.bad[block] = times
	}
}

// Remove deletes a file, durably.
func (d *Disk) Remove(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.names, path.Clean(name))
	delete(d.stable, path.Clean(name))
}

// Glob lists the files whose names match.
func (d *Disk) Glob(pattern string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []string
	for _, name := range sortedNames(d.names) {
		if ok, _ := path.Match(pattern, name); ok {
			found = append(found, name)
		}
	}
	return found
}

func sortedNames(names map[string]*node) []string {
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	return sorted
}

func (d *Disk) children(folder string) []string {
	prefix := strings.TrimSuffix(folder, "/") + "/"
	var found []string
	for name := range d.names {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" && !strings.Contains(rest, "/") {
			found = append(found, rest)
		}
	}
	slices.Sort(found)
	return found
}
