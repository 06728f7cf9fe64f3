package collector

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var journalBegin = time.Unix(1_790_000_000, 0)

const month = 30 * 24 * time.Hour

func openedJournal(t interface {
	Helper()
	Fatal(args ...any)
}, path string,
) *journal {
	t.Helper()
	j, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// texts are all that a journal has.
func (j *journal) texts(t interface{ Fatal(args ...any) }) map[string]string {
	out := map[string]string{}
	for key := range j.places {
		text, err := j.find(key)
		if err != nil {
			t.Fatal(err)
		}
		out[key] = string(text)
	}
	return out
}

// TestJournal saves random texts under some keys, with reopening and with errors, and compares with a map.
func TestJournal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "hostmeter-journal")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		path := filepath.Join(dir, "sub", "j")
		j, want := openedJournal(t, path), map[string]string{}
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			default:
				var entries []entry
				for _, key := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 0, 4, rapid.ID).Draw(t, "keys") {
					text := rapid.StringMatching(`[ -~]{0,20}`).Draw(t, "text")
					entries = append(entries, entry{key, []byte(text)})
					want[key] = text
				}
				if err := j.save(entries, journalBegin, month); err != nil {
					t.Fatal(err)
				}
			case 0:
				_ = j.close()
				j = openedJournal(t, path)
				if j.spoiled != 0 {
					t.Fatalf("%d lines spoiled", j.spoiled)
				}
			case 1: // a disk that takes nothing, once
				if j.file == nil {
					continue
				}
				good := j.file
				if j.file, err = os.Open(path); err != nil {
					t.Fatal(err)
				}
				if !j.broken && j.save([]entry{{"a", []byte("refused")}}, journalBegin, month) == nil {
					t.Fatal("written to a file that cannot be written")
				}
				_ = j.file.Close()
				j.file = good
			}
			if got := j.texts(t); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("got  %v\nwant %v", got, want)
			}
		}
		_ = j.close()
	})
}

// TestJournalAfterACrash cuts the file behind every octet: what was saved before is there, and what is saved
// afterwards, too.
func TestJournalAfterACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := openedJournal(t, path)
	var ends []int64
	var states []map[string]string
	for i := range 6 {
		entries := []entry{{"a", fmt.Appendf(nil, "first %d", i)}}
		if i%2 == 0 {
			entries = append(entries, entry{fmt.Sprintf("b%d", i), []byte("second")})
		}
		if err := j.save(entries, journalBegin, month); err != nil {
			t.Fatal(err)
		}
		ends, states = append(ends, j.size), append(states, j.texts(t))
	}
	whole, err := os.ReadFile(path)
	if err != nil || int64(len(whole)) != j.size {
		t.Fatalf("%d octets, want %d; %v", len(whole), j.size, err)
	}
	for cut := range len(whole) + 1 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		saved := map[string]string{}
		for i, end := range ends {
			if end <= int64(cut) {
				saved = states[i]
			}
		}
		after := openedJournal(t, path)
		for key, text := range saved {
			// A save that was cut may have left its first lines: those are newer.
			got, err := after.find(key)
			if err != nil || string(got) != text && !(key == "a" && strings.HasPrefix(string(got), "first ") && string(got) > text) {
				t.Fatalf("cut at %d: %s is %q, want %q; %v", cut, key, got, text, err)
			}
		}
		if err := after.save([]entry{{"new", []byte("x")}}, journalBegin, month); err != nil {
			t.Fatal(err)
		}
		again := openedJournal(t, path)
		if text, err := again.find("new"); err != nil || string(text) != "x" || again.spoiled != 0 || len(again.places) != len(after.places) {
			t.Fatalf("cut at %d: %q, %v, %d spoiled, %d keys of %d", cut, text, err, again.spoiled, len(again.places), len(after.places))
		}
		_, _ = after.close(), again.close()
	}
}

// TestSpoiledLinesCostThemselves flips every octet in turn: only keys of that line, or of it and the next
// where the line feed is hit, are lost, and nothing is ever read that was not written.
func TestSpoiledLinesCostThemselves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := openedJournal(t, path)
	var entries []entry
	for i := range 5 {
		entries = append(entries, entry{fmt.Sprintf("key%d", i), fmt.Appendf(nil, "text %d", i)})
	}
	if err := j.save(entries, journalBegin, month); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		for _, flip := range []byte{1, 0x80, 0x2a} { // 0x2a makes a line feed of a space
			spoiled := bytes.Clone(whole)
			spoiled[at] ^= flip
			if err := os.WriteFile(path, spoiled, 0o600); err != nil {
				t.Fatal(err)
			}
			after := openedJournal(t, path)
			least := 4
			if whole[at] == '\n' {
				least = 3
			}
			got := after.texts(t)
			if len(got) < least || len(got) == 5 {
				t.Fatalf("octet %d: %d keys left", at, len(got))
			}
			for key, text := range got {
				if text != "text "+key[3:] {
					t.Fatalf("octet %d: %s is %q", at, key, text)
				}
			}
			_ = after.close()
		}
	}
}

func TestJournalIsWrittenAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := openedJournal(t, path)
	text := bytes.Repeat([]byte("x"), 10_000)
	if err := j.save([]entry{{"gone", text}, {"old", text}}, journalBegin.Add(-month-time.Hour), month); err != nil {
		t.Fatal(err)
	}
	if err := j.save([]entry{{"old", text}}, journalBegin, month); err != nil {
		t.Fatal(err)
	}
	most, live := int64(0), int64(0)
	for i := range 1000 {
		if err := j.save([]entry{{fmt.Sprintf("k%d", i%20), text}}, journalBegin, month); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Size() != j.size {
			t.Fatalf("size %d, want %d; %v", info.Size(), j.size, err)
		}
		most, live = max(most, info.Size()), j.live
	}
	if live < 21*10_000 || live > 21*10_100 {
		t.Errorf("%d octets are needed, want those of 21 keys", live)
	}
	if most > 2*(live+10_100)+journalSlack+10_100 {
		t.Errorf("the file grew to %d octets for %d", most, live)
	}
	if got := openedJournal(t, path).texts(t); len(got) != 21 || got["old"] == "" || got["gone"] != "" {
		t.Errorf("%d keys", len(got))
	}
	left, err := filepath.Glob(path + "*")
	if err != nil || len(left) != 1 {
		t.Errorf("files %v; %v", left, err)
	}
}
