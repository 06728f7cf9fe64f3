package backtest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// ErrSeries is wrapped by everything that is wrong with a series file.
var ErrSeries = errors.New("series file is wrong")

// maxLine bounds the memory of a line.
const maxLine = 1 << 20

// openSeries opens a CSV file, packed or not, by its extension.
func openSeries(path string) (io.ReadCloser, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open series: %w", err)
	}
	switch {
	case strings.HasSuffix(path, ".gz"):
		unpacked, err := gzip.NewReader(file)
		if err != nil {
			_ = file.Close()
			return nil, fmt.Errorf("%w: %s: %w", ErrSeries, path, err)
		}
		return both{unpacked, file.Close}, nil
	case strings.HasSuffix(path, ".zst"):
		unpacked, err := zstd.NewReader(file, zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			_ = file.Close()
			return nil, fmt.Errorf("%w: %s: %w", ErrSeries, path, err)
		}
		return both{unpacked, func() error { unpacked.Close(); return file.Close() }}, nil
	}
	return file, nil
}

type both struct {
	io.Reader
	close func() error
}

func (b both) Close() error { return b.close() }

// reader reads the rows of a series. values has one number per wanted column; NaN where it is missing
// or the file has no such column.
type reader struct {
	in          *bufio.Reader
	line        int
	meter, time int   // positions of the columns
	position    []int // of the wanted columns; -1 where there is none
	fields      [][]byte
	values      []float64
}

// newReader reads the header. want are names of columns.
func newReader(in io.Reader, want []string) (*reader, error) {
	r := &reader{in: bufio.NewReaderSize(in, 1<<20), meter: -1, time: -1, position: make([]int, len(want)), values: make([]float64, len(want))}
	if err := r.read(); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: empty, want a header with meter and time", ErrSeries)
		}
		return nil, err
	}
	for i := range r.position {
		r.position[i] = -1
	}
	for i, field := range r.fields {
		name := strings.TrimSpace(strings.TrimPrefix(string(field), "\ufeff"))
		switch name {
		case "meter":
			r.meter = i
		case "time":
			r.time = i
		}
		for k, wanted := range want {
			if wanted == name {
				r.position[k] = i
			}
		}
	}
	if r.meter < 0 || r.time < 0 {
		return nil, fmt.Errorf("%w: line 1: want the columns meter and time", ErrSeries)
	}
	return r, nil
}

// next returns a row; meter is valid until the next call. Errors: io.EOF at the end, ErrSeries.
func (r *reader) next() (meter []byte, at time.Time, err error) {
	if err := r.read(); err != nil {
		return nil, time.Time{}, err
	}
	if r.meter >= len(r.fields) || r.time >= len(r.fields) {
		return nil, time.Time{}, r.wrong("%d columns, want more", len(r.fields))
	}
	if at, err = parseTime(r.fields[r.time]); err != nil {
		return nil, time.Time{}, r.wrong("time: %w", err)
	}
	for k, i := range r.position {
		r.values[k] = math.NaN()
		if i < 0 || i >= len(r.fields) || len(r.fields[i]) == 0 {
			continue
		}
		v, err := strconv.ParseFloat(string(r.fields[i]), 64)
		if err != nil {
			return nil, time.Time{}, r.wrong("column %d: %q is not a number", i+1, r.fields[i])
		}
		r.values[k] = v
	}
	return r.fields[r.meter], at, nil
}

func (r *reader) wrong(format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %w", ErrSeries, r.line, fmt.Errorf(format, args...))
}

// read reads one line that is not empty into fields.
func (r *reader) read() error {
	for {
		line, err := r.readLine()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			continue
		}
		if bytes.IndexByte(line, '"') < 0 {
			r.fields = split(r.fields[:0], line)
			return nil
		}
		quoted, err := csv.NewReader(bytes.NewReader(line)).Read()
		if err != nil {
			return r.wrong("%w", err)
		}
		r.fields = r.fields[:0]
		for _, field := range quoted {
			r.fields = append(r.fields, []byte(field))
		}
		return nil
	}
}

func (r *reader) readLine() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(line) > maxLine {
		return nil, r.wrong("longer than %d bytes", maxLine)
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, r.wrong("%w", err)
	}
	r.line++
	return bytes.TrimRight(line, "\r\n"), nil
}

func split(dst [][]byte, line []byte) [][]byte {
	for {
		i := bytes.IndexByte(line, ',')
		if i < 0 {
			return append(dst, line)
		}
		dst = append(dst, line[:i])
		line = line[i+1:]
	}
}

// parseTime reads Unix seconds, whole or not, or RFC 3339. Years 1970 to 2200.
func parseTime(text []byte) (time.Time, error) {
	if n, ok := digits(text); ok {
		return time.Unix(n, 0).UTC(), nil
	}
	at, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		seconds, err := strconv.ParseFloat(string(text), 64)
		if err != nil || !(seconds >= 0 && seconds <= maxSeconds) {
			return time.Time{}, fmt.Errorf("%q is neither RFC 3339 nor Unix seconds", text)
		}
		return time.UnixMilli(int64(math.Round(seconds * 1000))).UTC(), nil
	}
	if s := at.Unix(); s < 0 || s > maxSeconds {
		return time.Time{}, fmt.Errorf("%q is not between 1970 and 2200", text)
	}
	return at.UTC(), nil
}

const maxSeconds = 7258118400 // the year 2200

func digits(text []byte) (n int64, ok bool) {
	if len(text) == 0 || len(text) > 10 {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, n <= maxSeconds
}
