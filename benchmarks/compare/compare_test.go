//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSocketsOfAPort(t *testing.T) {
	// 0x6D65 is 28005. The last line is the connected socket of a sender.
	const table = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
16039: 0100007F:6D65 00000000:0000 07 00000000:00000A10 00:00000000 00000000     0        0 519119 2 00000000d97b2912 92192
16040: 00000000:6D65 00000000:0000 07 00000000:00000001 00:00000000 00000000     0        0 519120 2 00000000d97b2913 8
16041: 0100007F:6D66 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 519121 2 00000000d97b2914 7
16042: 0101007F:6D65 0100007F:1000 01 00000000:00000000 00:00000000 00000000     0        0 519122 2 00000000d97b2915 3
`
	var got sockets
	got.add(table, 28005)
	if want := (sockets{count: 2, queued: 0xA11, dropped: 92200}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestLedgersAreComparedByAddress(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, lines ...string) string {
		path := filepath.Join(dir, name)
		text := "address,in_octets,in_packets,out_octets,out_packets\n" + strings.Join(lines, "\n")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sent := write("sent", "10.50.0.1,100,1,200,2", "10.50.0.2,300,3,400,4", "10.50.0.3,5,5,5,5")
	f := func(want wrong, lines ...string) {
		t.Helper()
		got, err := compareLedgers(sent, write("counted", lines...))
		if err != nil || *got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	f(wrong{}, "10.50.0.3,5,5,5,5", "10.50.0.1,100,1,200,2", "10.50.0.2,300,3,400,4")
	f(wrong{addresses: 2, octets: 60, more: 50}, "10.50.0.1,90,1,250,2", "10.50.0.2,300,3,400,5", "10.50.0.3,5,5,5,5") // packets count too
	f(wrong{addresses: 1, octets: 10}, "10.50.0.1,100,1,200,2", "10.50.0.2,300,3,400,4")                               // not counted at all
	f(wrong{addresses: 1, octets: 9, more: 9}, "10.50.0.1,100,1,200,2", "10.50.0.2,300,3,400,4", "10.50.0.3,5,5,5,5", "192.0.2.1,9,1,0,0")
}

func TestUsageOfTheLedger(t *testing.T) {
	to := filepath.Join(t.TempDir(), "counted")
	c, err := usage(strings.NewReader("service,meter,in_octets,out_octets,in_packets,out_packets\n,address:10.50.0.1,1,2,3,4\n,address:10.50.0.2,10,20,30,40\n"), to)
	if err != nil || c.octets != 33 || c.packets != 77 || c.records != unknown {
		t.Fatalf("%+v, %v", c, err)
	}
	sums, err := readLedger(to)
	if want := [4]int64{10, 30, 20, 40}; err != nil || sums["10.50.0.2"] != want || len(sums) != 2 {
		t.Errorf("%v, %v, want %v of 10.50.0.2", sums, err, want)
	}
}

func TestWhatARunCost(t *testing.T) {
	r := result{sent: sent{Records: 2400, Octets: 1000}, dropped: 50, cpu: 0.6, counts: counts{records: 600, octets: 999, packets: unknown}}
	if got := r.handed("netflow9"); got != 1200 {
		t.Errorf("%v records handed over, want 2400 less 50 datagrams of 24", got)
	}
	if got := r.perMillion("netflow9"); got != 500 {
		t.Errorf("%v CPU seconds a million, want 500", got)
	}
	if got := inside(r, "netflow9"); got != "50.0 %" {
		t.Errorf("%s lost inside, want half", got)
	}
	r.counts.records, r.counts.packets = unknown, 12_000 // ten a record
	if got := inside(r, "netflow9"); got != "0" {
		t.Errorf("%s lost inside, want 0", got)
	}
	if got := sumError(r); got != "-0.1000 %" {
		t.Errorf("error of the sum %s", got)
	}
}

func TestNumbersForPeople(t *testing.T) {
	for value, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := number(value); got != want {
			t.Errorf("number(%v) = %s, want %s", value, got, want)
		}
	}
}
