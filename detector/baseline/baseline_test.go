package baseline_test

import (
	"bytes"
	"math"
	"testing"
	"time"

	"hostmeter/detector/baseline"
)

var monday = time.Date(2026, 10, 5, 0, 0, 0, 0, time.UTC)

func TestNormalIsByHourAndWeekend(t *testing.T) {
	var m baseline.Model
	if _, known := m.Quantile(monday, 0.5); known {
		t.Fatal("it knows what is normal and has seen nothing")
	}
	for at := monday; at.Before(monday.Add(14 * 24 * time.Hour)); at = at.Add(15 * time.Minute) {
		value := float64(at.Hour())
		if at.Weekday() == time.Saturday || at.Weekday() == time.Sunday {
			value += 100
		}
		m.Learn(at, value)
	}
	f := func(at time.Time, want float64) {
		t.Helper()
		if got, known := m.Quantile(at, 0.975); !known || got != want {
			t.Fatalf("normal at %s is %v (%v), want %v", at.Format("Mon 15:04"), got, known, want)
		}
	}
	f(monday.Add(3*time.Hour), 3)
	f(monday.Add(27*time.Hour), 3)
	f(monday.Add(5*24*time.Hour+3*time.Hour), 103)
	if got, _ := m.Threshold(monday.Add(3*time.Hour), 0.975, 1.5, 0); got != 4.5 {
		t.Errorf("threshold %v, want 4.5", got)
	}
	if got, _ := m.Threshold(monday.Add(3*time.Hour), 0.975, 1.5, 50); got != 50 {
		t.Errorf("threshold %v, want the floor", got)
	}
}

func TestQuantileOfKnownValues(t *testing.T) {
	var m baseline.Model
	for i := range 20 { // one value a day at this hour: 1 to 20, working days only
		day := monday.Add(time.Duration(i/5*7+i%5) * 24 * time.Hour)
		m.Learn(day, float64(i+1))
	}
	for q, want := range map[float64]float64{0.5: 10, 0.95: 19, 1: 20} {
		if got, known := m.Quantile(monday, q); !known || got != want {
			// the cache is for one quantile a model: a rule has one
			var again baseline.Model
			for i := range 20 {
				again.Learn(monday.Add(time.Duration(i/5*7+i%5)*24*time.Hour), float64(i+1))
			}
			if got, _ = again.Quantile(monday, q); got != want {
				t.Errorf("quantile %v is %v, want %v", q, got, want)
			}
		}
	}
}

func TestOldValuesLeave(t *testing.T) {
	var m baseline.Model
	for i := range 400 {
		m.Learn(monday.Add(time.Duration(i)*7*24*time.Hour), 1000)
	}
	for i := 400; i < 500; i++ {
		m.Learn(monday.Add(time.Duration(i)*7*24*time.Hour), 1)
	}
	if got, _ := m.Quantile(monday, 1); got != 1 {
		t.Errorf("the highest normal value is %v, want 1: the old ones are long gone", got)
	}
}

func FuzzRead(f *testing.F) {
	var m baseline.Model
	for i := range 500 {
		m.Learn(monday.Add(time.Duration(i)*time.Hour), float64(i))
	}
	f.Add(m.Append(nil))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := baseline.Read(text)
		if err != nil {
			return
		}
		again, err := baseline.Read(m.Append(nil))
		if err != nil || !bytes.Equal(again.Append(nil), m.Append(nil)) {
			t.Fatalf("written and read back it is another: %v", err)
		}
		m.Quantile(monday, 0.5)
		m.Learn(time.Unix(0, math.MaxInt64), 1)
	})
}
