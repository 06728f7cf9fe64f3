package disk

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"hostmeter/internal/stream"
	"hostmeter/internal/stream/streamtest"
	"hostmeter/schemas"
)

var mutations = flag.Int("mutations", 10_000, "random mutations of a segment")

// span is where a record lies in its segment.
type span struct {
	from, to int64
	key      stream.Key
	index    uint64
}

// book is a closed log whose first segment is to be damaged.
type book struct {
	*harness
	path    string
	whole   []byte
	records []span // of the first segment
	texts   map[string][]byte
	total   int
}

func (b *book) text(key stream.Key, index uint64) string { return fmt.Sprint(key, " ", index) }

// newBook writes records of many lengths, alone and in appends of several, into two segments. Equal appends
// let a block lie exactly where another record was.
func newBook(t testing.TB) *book {
	t.Helper()
	b := &book{harness: newHarness(t), texts: map[string][]byte{}}
	for n := range 16 {
		size := []int{30, 30, 30, 7, 250, 600}[n%6]
		var group []*schemas.Batch
		for range 1 + n%2 {
			for shard := range uint32(testShards) {
				b.number++
				group = append(group, streamtest.Batch(shard, b.number, size))
			}
		}
		if err := b.log.Append(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		for _, batch := range group {
			text, err := batch.MarshalVT()
			if err != nil {
				t.Fatal(err)
			}
			b.texts[b.text(stream.KeyOf(batch), batch.GetIndex())] = text
			b.total++
		}
	}
	s := b.log.active.segments[0]
	b.path = s.path
	if len(b.log.active.segments) < 2 {
		t.Fatal("there is but one segment")
	}
	id := b.log.active.id
	if err := b.log.Close(); err != nil {
		t.Fatal(err)
	}
	b.whole = contentOf(t, b.harness, b.path)
	w := &window{from: bytes.NewReader(b.whole), seed: place{id, s.number}.seed()}
	for offset := s.begin; offset < s.size; {
		h, err := w.head(offset, s.size)
		if err != nil {
			t.Fatal(err)
		}
		b.records = append(b.records, span{offset, offset + h.size(), stream.Key{Collector: "c", LogID: id, Shard: h.shard}, h.index})
		offset += h.size()
	}
	return b
}

// read opens the log with a damaged first segment, and checks what holds for any damage: each batch is read
// as it was written and once, or told as missing once. It returns which were read.
func (b *book) read(t testing.TB, damaged []byte) map[string]bool {
	t.Helper()
	b.disk.WriteFile(b.path, damaged)
	b.open()
	defer func() { _ = b.log.Close() }()
	r, _ := b.log.OpenReader(t.Context(), "test", nil) // has no error
	defer func() { _ = r.Close() }()
	found, missing := map[string]bool{}, 0
	for {
		batches, err := r.(*reader).read(100)
		if gap, ok := err.(*stream.GapError); ok {
			missing += int(gap.To - gap.From + 1)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(batches) == 0 {
			break
		}
		for _, batch := range batches {
			name := b.text(stream.KeyOf(batch), batch.GetIndex())
			text, err := batch.MarshalVT()
			if err != nil || !bytes.Equal(text, b.texts[name]) {
				t.Fatalf("%s is not as it was written", name)
			}
			if found[name] {
				t.Fatalf("%s was read twice", name)
			}
			found[name] = true
		}
	}
	if len(found)+missing != b.total {
		t.Fatalf("%d batches read and %d told missing of %d", len(found), missing, b.total)
	}
	return found
}

// cost fails where a record is gone that the damage has not touched.
func (b *book) cost(t testing.TB, found map[string]bool, touched func(span) bool) {
	t.Helper()
	gone := 0
	for _, r := range b.records {
		if touched(r) {
			gone++
			continue
		}
		if name := b.text(r.key, r.index); !found[name] {
			t.Fatalf("%s at %d was not touched, and is gone", name, r.from)
		}
	}
	if len(found) < b.total-gone {
		t.Fatalf("%d of %d batches read, %d were touched", len(found), b.total, gone)
	}
}

// block is a piece of the segment: a sector-like one, or a whole record.
func (b *book) block(random *rand.Rand) (from, to int64) {
	if random.IntN(2) == 0 {
		r := b.records[random.IntN(len(b.records))]
		return r.from, r.to
	}
	size := int64(1 + random.IntN(600))
	from = random.Int64N(int64(len(b.whole)) - size)
	return from, from + size
}

// Flipped octets, zeroed, duplicated, dropped and swapped blocks, whole records among them: damage is
// always found, is never taken for a batch, and costs the records that it touches. A broken length is a
// broken head, whose sum does not fit: the next record is found by its own.
func TestMutations(t *testing.T) {
	b := newBook(t)
	var what string
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(what)
		}
	})
	for seed := range uint64(*mutations) {
		random := rand.New(rand.NewPCG(seed, 0))
		damaged := bytes.Clone(b.whole)
		from, to := b.block(random)
		other := from
		var kind string
		touched := func(r span) bool { return !bytes.Equal(damaged[r.from:r.to], b.whole[r.from:r.to]) }
		switch random.IntN(5) {
		case 0:
			kind = "flip"
			for range 1 + random.IntN(4) {
				damaged[from+random.Int64N(to-from)] ^= byte(1 + random.IntN(255))
			}
		case 1:
			kind = "zero"
			clear(damaged[from:to])
		case 2:
			kind = "duplicate"
			other, _ = b.block(random)
			copy(damaged[other:], b.whole[from:to])
		case 3:
			kind = "drop"
			damaged = append(damaged[:from:from], b.whole[to:]...)
			touched = func(r span) bool { return r.from < to && r.to > from }
		case 4:
			kind = "swap"
			other, _ = b.block(random)
			n := min(to-from, int64(len(b.whole))-other)
			if other < from+n && from < other+n { // they overlap
				n = max(other-from, from-other)
			}
			copy(damaged[other:], b.whole[from:from+n])
			copy(damaged[from:], b.whole[other:other+n])
		}
		what = fmt.Sprintf("seed %d: %s of %d to %d, at %d", seed, kind, from, to, other)
		b.cost(t, b.read(t, damaged), touched)
	}
}

// A closed segment of which only a beginning is left: what is whole is read, the rest is told.
func TestEveryPrefix(t *testing.T) {
	b := newBook(t)
	for cut := range len(b.whole) {
		b.cost(t, b.read(t, b.whole[:cut]), func(r span) bool { return r.to > int64(cut) })
	}
}

// A segment that was being written, of which only a beginning is left, ends where its last whole append
// does; nobody is told of a gap, because nobody was promised more.
func TestEveryPrefixOfTheTail(t *testing.T) {
	b := newBook(t)
	b.disk.Remove(filepath.Join(filepath.Dir(b.path), sealName))
	for _, later := range b.disk.Glob(filepath.Join(filepath.Dir(b.path), "*.log"))[1:] {
		b.disk.Remove(later)
	}
	for cut := range len(b.whole) {
		b.disk.Remove(filepath.Join(filepath.Dir(b.path), sealName))
		b.disk.WriteFile(b.path, b.whole[:cut])
		b.open()
		numbers, gaps := readWithGaps(t, b.log)
		if len(gaps) != 0 {
			t.Fatalf("cut at %d: gaps %v", cut, gaps)
		}
		whole := 0 // records of appends that are whole: all shards come alike, and none is split
		for _, r := range b.records {
			if r.to <= int64(cut) {
				whole++
			}
		}
		read := 0
		for _, list := range numbers {
			read += len(list)
		}
		if read > whole || read < whole-2*testShards+1 || read%testShards != 0 {
			t.Fatalf("cut at %d: %d batches read of %d whole records", cut, read, whole)
		}
		_ = b.log.Close()
	}
}
