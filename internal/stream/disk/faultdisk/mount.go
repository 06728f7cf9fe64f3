package faultdisk

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk/files"
)

// mount is the disk as one process has it.
type mount struct {
	disk    *Disk
	process int
}

// alive takes the disk's lock, unless the process is dead.
func (m *mount) alive() error {
	m.disk.mu.Lock()
	if m.disk.process != m.process || m.disk.dead {
		m.disk.mu.Unlock()
		return ErrCrashed
	}
	return nil
}

// changing takes the disk's lock for an operation that changes it. dying says that the process dies in it.
func (m *mount) changing() (dying bool, err error) {
	if err := m.alive(); err != nil {
		return false, err
	}
	d := m.disk
	d.operations++
	if d.crashAt > 0 && d.operations >= d.crashAt {
		d.dead = true
		return true, nil
	}
	if d.faults.Broken != nil {
		defer d.mu.Unlock()
		d.struck = "disk refuses everything"
		return false, d.faults.Broken
	}
	return false, nil
}

// change changes names, in what the process sees now and on the disk later.
func (d *Disk) change(apply func(names map[string]*node), folders ...string) {
	apply(d.names)
	d.pending = append(d.pending, change{folders, apply})
}

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

func (m *mount) MkdirAll(name string) error {
	name = path.Clean(name)
	if err := m.alive(); err != nil {
		return err
	}
	there := m.disk.names[name] != nil
	m.disk.mu.Unlock()
	if there {
		return nil
	}
	if err := m.MkdirAll(path.Dir(name)); err != nil {
		return err
	}
	return m.Mkdir(name)
}

// structural runs an operation on names: at a crash it has happened or not, by its number.
func (m *mount) structural(f func() error) error {
	dying, err := m.changing()
	if err != nil {
		return err
	}
	defer m.disk.mu.Unlock()
	if dying {
		if m.disk.operations%2 == 0 {
			_ = f()
		}
		return ErrCrashed
	}
	return f()
}

func (m *mount) Mkdir(name string) error {
	name = path.Clean(name)
	return m.structural(func() error {
		if m.disk.names[name] != nil {
			return pathError("mkdir", name, fs.ErrExist)
		}
		if parent := m.disk.names[path.Dir(name)]; parent == nil || !parent.folder {
			return pathError("mkdir", name, fs.ErrNotExist)
		}
		folder := &node{folder: true}
		m.disk.change(func(names map[string]*node) { names[name] = folder }, path.Dir(name))
		return nil
	})
}

func (m *mount) ReadDir(name string) ([]string, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	defer m.disk.mu.Unlock()
	name = path.Clean(name)
	if n := m.disk.names[name]; n == nil || !n.folder {
		return nil, pathError("readdir", name, fs.ErrNotExist)
	}
	return m.disk.children(name), nil
}

func (m *mount) Create(name string) (files.File, error) {
	name = path.Clean(name)
	var f *file
	err := m.structural(func() error {
		if m.disk.names[name] != nil {
			return pathError("create", name, fs.ErrExist)
		}
		if parent := m.disk.names[path.Dir(name)]; parent == nil || !parent.folder {
			return pathError("create", name, fs.ErrNotExist)
		}
		n := &node{}
		m.disk.change(func(names map[string]*node) { names[name] = n }, path.Dir(name))
		f = &file{mount: m, node: n}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (m *mount) OpenWrite(name string) (files.File, error) { return m.Open(name) }

func (m *mount) Open(name string) (files.File, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	defer m.disk.mu.Unlock()
	n := m.disk.names[path.Clean(name)]
	if n == nil || n.folder {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	return &file{mount: m, node: n}, nil
}

func (m *mount) Rename(from, to string) error {
	from, to = path.Clean(from), path.Clean(to)
	return m.structural(func() error {
		if m.disk.names[from] == nil {
			return pathError("rename", from, fs.ErrNotExist)
		}
		m.disk.change(func(names map[string]*node) {
			if n := names[from]; n != nil {
				names[to] = n
				delete(names, from)
			}
		}, path.Dir(from), path.Dir(to))
		return nil
	})
}

func (m *mount) Remove(name string) error {
	name = path.Clean(name)
	return m.structural(func() error {
		n := m.disk.names[name]
		if n == nil {
			return pathError("remove", name, fs.ErrNotExist)
		}
		if n.folder && len(m.disk.children(name)) > 0 {
			return pathError("remove", name, unix.ENOTEMPTY)
		}
		if m.disk.faults.Bounded {
			m.disk.faults.Room += int64(len(n.content))
		}
		if len(n.content) > 0 {
			m.disk.removals++
		}
		m.disk.change(func(names map[string]*node) { delete(names, name) }, path.Dir(name))
		return nil
	})
}

func (m *mount) SyncDir(name string) error {
	name = path.Clean(name)
	return m.structural(func() error {
		last := -1 // a journal takes the changes before with it
		for i, c := range m.disk.pending {
			if slices.Contains(c.folders, name) {
				last = i
			}
		}
		for _, c := range m.disk.pending[:last+1] {
			c.apply(m.disk.stable)
		}
		m.disk.pending = slices.Clone(m.disk.pending[last+1:])
		return nil
	})
}

func (m *mount) Lock(name string) (io.Closer, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	defer m.disk.mu.Unlock()
	name = path.Clean(name)
	if _, taken := m.disk.locks[name]; taken {
		return nil, fmt.Errorf("lock %s: %w", name, stream.ErrLocked)
	}
	m.disk.locks[name] = m.process
	return &lock{m, name}, nil
}

type lock struct {
	mount *mount
	name  string
}

func (l *lock) Close() error {
	if err := l.mount.alive(); err != nil {
		return nil // it went with its process
	}
	defer l.mount.disk.mu.Unlock()
	delete(l.mount.disk.locks, l.name)
	return nil
}

// file is an open file.
type file struct {
	mount *mount
	node  *node
}

func (f *file) Close() error { return nil }

func (f *file) Size() (int64, error) {
	if err := f.mount.alive(); err != nil {
		return 0, err
	}
	defer f.mount.disk.mu.Unlock()
	return int64(len(f.node.content)), nil
}

func (f *file) ReadAt(b []byte, offset int64) (int, error) {
	if err := f.mount.alive(); err != nil {
		return 0, err
	}
	defer f.mount.disk.mu.Unlock()
	if d := f.mount.disk; d.faults.FailReads > 0 {
		d.faults.FailReads--
		d.struck = "failed read"
		return 0, unix.EIO
	}
	if offset >= int64(len(f.node.content)) {
		return 0, io.EOF
	}
	good := f.node.readable(offset, min(offset+int64(len(b)), int64(len(f.node.content))))
	n := copy(b, f.node.content[offset:good])
	switch {
	case n == len(b):
		return n, nil
	case good < int64(len(f.node.content)):
		return n, unix.EIO
	}
	return n, io.EOF
}

// readable returns how far of [from, to) can be read.
func (n *node) readable(from, to int64) int64 {
	for block := from / BlockSize; block*BlockSize < to; block++ {
		times, bad := n.bad[block]
		if !bad {
			continue
		}
		if times--; times == 0 {
			delete(n.bad, block)
		} else if times > 0 {
			n.bad[block] = times
		}
		return max(from, block*BlockSize)
	}
	return to
}

func (f *file) WriteAt(b []byte, offset int64) (int, error) {
	dying, err := f.mount.changing()
	if err != nil {
		return 0, err
	}
	d := f.mount.disk
	defer d.mu.Unlock()
	allowed := len(b)
	if dying {
		allowed, err = d.operations%(len(b)+1), ErrCrashed
	}
	if d.faults.Tear != nil && len(b) > 64 {
		d.struck = "torn write"
		allowed, err, d.faults.Tear = min(allowed, len(b)/2), d.faults.Tear, nil
	}
	grows := offset + int64(allowed) - int64(len(f.node.content))
	if d.faults.Bounded && grows > d.faults.Room {
		d.struck = "disk full"
		allowed -= int(min(grows-d.faults.Room, int64(allowed)))
		grows, err = d.faults.Room, unix.ENOSPC
	}
	if d.faults.Bounded && grows > 0 {
		d.faults.Room -= grows
	}
	if allowed > 0 {
		f.node.content = put(f.node.content, offset, b[:allowed])
		f.node.dirty = append(f.node.dirty, write{offset, slices.Clone(b[:allowed]), int64(len(f.node.content))})
		for block := offset / BlockSize; block*BlockSize < offset+int64(allowed); block++ {
			delete(f.node.bad, block)
		}
	}
	return allowed, err
}

func (f *file) Sync() error {
	dying, err := f.mount.changing()
	if err != nil {
		return err
	}
	d, n := f.mount.disk, f.node
	defer d.mu.Unlock()
	if n.failed {
		d.syncsAfterFailure++
	}
	if dying {
		return ErrCrashed
	}
	if d.faults.FailSync != nil {
		defer func() { d.faults.FailSync = nil }()
		d.struck = "failed fsync"
		n.failed, n.stale = true, true
		n.synced, n.dirty = reach(n.synced, n.dirty, d.chance()), nil // the kernel takes these pages for clean now
		if d.chance().IntN(4) == 0 {
			n.evict()
		}
		return d.faults.FailSync
	}
	for _, w := range n.dirty {
		n.synced = w.applied(n.synced)
	}
	n.dirty = nil
	d.syncs++
	return nil
}

func (f *file) Truncate(size int64) error {
	return f.mount.structural(func() error {
		if f.mount.disk.faults.Bounded {
			f.mount.disk.faults.Room += int64(len(f.node.content)) - size
		}
		f.node.content = resize(f.node.content, size)
		f.node.dirty = append(f.node.dirty, write{size: size})
		return nil
	})
}
