package httpapi

import (
	"bufio"
	"encoding/json"
	"mime"
	"net/http"
	"strings"
)

// rows writes a list as it comes: a JSON array, or one JSON value a line where the reader asks for
// application/jsonl. Nothing is sent before the first row, so that an early error is still an answer;
// a later one breaks the connection, so that a part never looks whole.
type rows struct {
	w     http.ResponseWriter
	out   *bufio.Writer
	lines bool
	began bool
}

func newRows(w http.ResponseWriter, r *http.Request) *rows {
	return &rows{w: w, out: bufio.NewWriterSize(w, 32<<10), lines: wantsLines(r)}
}

func wantsLines(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		kind, _, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		switch kind {
		case "application/jsonl", "application/x-ndjson", "application/x-jsonlines":
			return true
		case "application/json":
			return false
		}
	}
	return false
}

func (o *rows) begin() {
	o.began = true
	o.w.Header().Set("Vary", "Accept")
	if o.lines {
		o.w.Header().Set("Content-Type", "application/jsonl; charset=utf-8")
		return
	}
	o.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = o.out.WriteByte('[') // an error stays in the writer
}

// add writes one row.
func (o *rows) add(row any) error {
	text, err := json.Marshal(row)
	if err != nil {
		return err
	}
	switch {
	case !o.began:
		o.begin()
	case !o.lines:
		_ = o.out.WriteByte(',')
	}
	if !o.lines {
		_ = o.out.WriteByte('\n')
	}
	_, err = o.out.Write(text)
	if o.lines {
		err = o.out.WriteByte('\n')
	}
	return err
}

// end finishes the list after err, which is what the source of the rows returned.
func (o *rows) end(err error) error {
	if err != nil && !o.began {
		return err
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if !o.began {
		o.begin()
	}
	if !o.lines {
		_, _ = o.out.WriteString("\n]\n")
	}
	_ = o.out.Flush() // the reader may have gone
	return nil
}

// writeList writes a list that is in memory; nil is an empty list.
func writeList[T any](w http.ResponseWriter, r *http.Request, list []T, err error) error {
	if err != nil {
		return err
	}
	out := newRows(w, r)
	for i := range list {
		if err := out.add(&list[i]); err != nil {
			return out.end(err)
		}
	}
	return out.end(nil)
}
