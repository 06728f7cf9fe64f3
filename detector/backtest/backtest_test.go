package backtest_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostmeter/detector/backtest"
	"hostmeter/detector/rule"
)

const cpuRule = `rules:
  - {name: cpu, metric: cpu_ratio, above: 0.9, for: 10m, at_least: 0.8, coverage: 0.5, clear: {below_share: 0.5, over: 5m}, each: guest}
`

func parse(t testing.TB, text string) []rule.Rule {
	t.Helper()
	rules, err := rule.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// write writes a series file; the name's extension says how it is packed.
func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	body := []byte(text)
	if strings.HasSuffix(name, ".gz") {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, _ = w.Write(body) // into memory
		_ = w.Close()
		body = packed.Bytes()
	}
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// draw returns a line per interval: kind from-to in minutes.
func draw(t testing.TB, rules, path string, opts backtest.Options) (lines []string, err error) {
	t.Helper()
	err = backtest.Run(parse(t, rules), path, opts, func(r backtest.Result) error {
		to := "…"
		if r.To != nil {
			to = fmt.Sprint(r.To.Unix() / 60)
		}
		lines = append(lines, fmt.Sprintf("%s %s %d-%s", r.Meter, r.Kind, r.From.Unix()/60, to))
		return nil
	})
	return lines, err
}

// minutes makes a series of one sample a minute: '#' 1, '.' 0, ' ' no row, '0' switched off, '-' an empty
// cell.
func minutes(meter, cells string) string {
	var b strings.Builder
	for i, c := range cells {
		at := 60 * (i + 1)
		switch c {
		case '#':
			fmt.Fprintf(&b, "%s,%d,1,2\n", meter, at)
		case '.':
			fmt.Fprintf(&b, "%s,%d,0,2\n", meter, at)
		case '0':
			fmt.Fprintf(&b, "%s,%d,1,0\n", meter, at)
		case '-':
			fmt.Fprintf(&b, "%s,%d,,2\n", meter, at)
		}
	}
	return b.String()
}

const header = "meter,time,cpu_ratio,cpu_capacity\n"

func TestIntervals(t *testing.T) {
	f := func(cells, want string) {
		t.Helper()
		got, err := draw(t, cpuRule, write(t, "s.csv", header+minutes("1", cells)), backtest.Options{MaxHold: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Join(got, "; ") != want {
			t.Fatalf("%s: got %q, want %q", cells, got, want)
		}
	}
	f("....................", "")
	f("####", "") // four minutes of ten are not half
	f("#####", "1 condition 5-…; 1 incident 5-…")
	f("#####....", "1 condition 5-7; 1 incident 5-8")                                    // 5 of 6 holds, 5 of 7 does not; 2 of the last 5 end it
	f("##########0000000000#####", "1 condition 5-21; 1 incident 5-…; 1 condition 25-…") // off is not observed, and ends nothing
	f("##########          ....", "1 condition 5-21; 1 incident 5-23")                   // quiet for half of the last 5
	f("#-#-#-#-#", "1 condition 9-…; 1 incident 9-…")
}

func TestRowsInAnyOrderAndForm(t *testing.T) {
	cells := "#####....#####...."
	want, err := draw(t, cpuRule, write(t, "s.csv", header+minutes("1", cells)+minutes("2", cells)), backtest.Options{MaxHold: time.Minute})
	if err != nil || len(want) == 0 {
		t.Fatal(want, err)
	}
	rows := strings.Split(strings.TrimSpace(minutes("1", cells)+minutes("2", cells)), "\n")
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	shuffled := strings.Join(rows, "\n")
	columns := "cpu_capacity,\"cpu_ratio\",meter,other,time\r\n"
	for _, row := range rows {
		p := strings.Split(row, ",")
		columns += fmt.Sprintf("%s,%s,%q,x,%s\r\n", p[3], p[2], p[0], timeOf(p[1]))
	}
	for name, text := range map[string]string{
		"shuffled.csv":  header + shuffled,
		"packed.csv.gz": header + shuffled,
		"columns.csv":   columns,
		"low.csv":       header + shuffled + "\n" + minutes("1", strings.Repeat(".", len(cells))), // of equal times the highest counts
	} {
		got, err := draw(t, cpuRule, write(t, name, text), backtest.Options{MaxHold: time.Minute})
		if err != nil || strings.Join(got, "; ") != strings.Join(want, "; ") {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
}

func timeOf(unix string) string {
	var n int64
	_, _ = fmt.Sscan(unix, &n) // made above
	return time.Unix(n, 0).UTC().Format(time.RFC3339)
}

func TestRulesForOtherMetersAndColumns(t *testing.T) {
	rules := cpuRule + `  - {name: net, metric: in_bits_per_second, above: 1, for: 10m, each: address}
  - {name: steal, metric: cpu_steal_ratio, above: 0.5, for: 10m, each: guest}
`
	var notices []string
	text := "meter,time,cpu_ratio,in_bits_per_second\n"
	for i := range 20 {
		text += fmt.Sprintf("guest:a,%d,1,9\naddress:192.0.2.1,%d,1,9\n", 60*i, 60*i)
	}
	got, err := draw(t, rules, write(t, "s.csv", text), backtest.Options{MaxHold: time.Minute, Notice: func(s string) { notices = append(notices, s) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 || len(notices) != 1 || !strings.Contains(notices[0], "steal") {
		t.Errorf("got %q, notices %q", got, notices)
	}
}

func TestWrongSeriesSaysTheLine(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := draw(t, cpuRule, write(t, "s.csv", text), backtest.Options{})
		if !errors.Is(err, backtest.ErrSeries) || !strings.Contains(err.Error(), want) {
			t.Fatalf("%q: got %v, want ErrSeries with %q", text, err, want)
		}
	}
	f("", "empty")
	f("meter,cpu_ratio\n", "line 1")
	f(header+"1,60,1,2\n1,soon,1,2\n", "line 3")
	f(header+"1,60,much,2\n", "line 2")
	f(header+"1\n", "line 2")
	f(header+"1,-60,1,2\n", "line 2")
	f(header+"\"1,60,1,2\n", "line 2")
}

// FuzzSeries: no series makes it panic, and what is found is in order.
func FuzzSeries(f *testing.F) {
	f.Add([]byte(header + minutes("1", "#####....#####....")))
	f.Add([]byte("meter,time,cpu_ratio\n\"a\",2026-01-01T00:00:00Z,1e300\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		last := ""
		err := backtest.Run(parse(t, cpuRule), write(t, "s.csv", string(text)), backtest.Options{}, func(r backtest.Result) error {
			if r.Meter < last || r.To != nil && r.To.Before(r.From) {
				t.Fatalf("%+v after %q", r, last)
			}
			last = r.Meter
			return nil
		})
		if err != nil && !errors.Is(err, backtest.ErrSeries) {
			t.Fatal(err)
		}
	})
}
