//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// unknown is what a receiver that says nothing of a number has counted.
const unknown = -1

func countFloor(e *execution) (counts, error) {
	var told struct{ Datagrams int64 }
	err := readJSON(e.file("out"), &told)
	return counts{records: told.Datagrams * recordsOf(e.protocol), octets: unknown, packets: unknown}, err
}

// recordsOf is how many records the load's datagrams have.
func recordsOf(protocol string) int64 {
	return map[string]int64{"netflow5": 30, "netflow9": 24, "ipfix": 20, "sflow5": 6}[protocol]
}

func countCollector(e *execution) (counts, error) {
	var told struct {
		CPU       float64 `json:"cpu_seconds"`
		Peak      float64 `json:"peak_mib"`
		Datagrams int64
		Records   int64
		Octets    int64
		Packets   int64
		Lost      map[string]int64
		Dropped   map[string]int64
		Held      map[string]int64
		Bytes     int64 `json:"log_bytes"`
	}
	if err := readJSON(e.file("out"), &told); err != nil {
		return counts{}, err
	}
	c := counts{datagrams: told.Datagrams, records: told.Records, octets: told.Octets, packets: told.Packets, cpu: told.CPU, peak: told.Peak, lost: told.Lost}
	c.log = fmt.Sprintf("%.1f MiB of log", float64(told.Bytes)/(1<<20))
	for reason, n := range told.Dropped {
		c.log += fmt.Sprintf(", dropped %s %d", reason, n)
	}
	for reason, n := range told.Held {
		if n != 0 {
			c.log += fmt.Sprintf(", held %s %d", reason, n)
		}
	}
	return c, nil
}

// countRun asks the ledger for the usage of each address, and writes it as the load writes its own.
func countRun(e *execution) (counts, error) {
	day := func(days int) string { return time.Now().UTC().AddDate(0, 0, days).Format(time.DateOnly) }
	cmd := exec.Command(e.hostmeter, "usage", "-c", e.file("hostmeter.yaml"), "--by", "meter", "--format", "csv",
		"--from", day(-1), "--to", day(2))
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	text, err := cmd.Output()
	if err != nil {
		return counts{}, fmt.Errorf("hostmeter usage: %w: %s", err, complaint.String())
	}
	return usage(bytes.NewReader(text), e.file("counted.csv"))
}

func usage(text io.Reader, to string) (c counts, err error) {
	rows, err := csv.NewReader(text).ReadAll()
	if err != nil {
		return c, err
	}
	if len(rows) == 0 {
		return c, errors.New("the ledger's usage has no head line")
	}
	columns := map[string]int{}
	for i, name := range rows[0] {
		columns[name] = i
	}
	var out strings.Builder
	out.WriteString("address,in_octets,in_packets,out_octets,out_packets\n")
	for _, row := range rows[1:] {
		out.WriteString(strings.TrimPrefix(row[columns["meter"]], "address:"))
		for _, name := range []string{"in_octets", "in_packets", "out_octets", "out_packets"} {
			n, err := strconv.ParseInt(row[columns[name]], 10, 64)
			if err != nil {
				return c, fmt.Errorf("%s of the ledger's usage: %w", name, err)
			}
			if strings.HasSuffix(name, "octets") {
				c.octets += n
			} else {
				c.packets += n
			}
			out.WriteString("," + strconv.FormatInt(n, 10))
		}
		out.WriteString("\n")
	}
	c.records = unknown
	return c, os.WriteFile(to, []byte(out.String()), 0o644)
}

func countNfcapd(e *execution) (counts, error) {
	text, err := exec.Command("nfdump", "-I", "-R", e.file("flows")).Output()
	if err != nil {
		return counts{}, fmt.Errorf("nfdump: %w", err)
	}
	told := map[string]int64{}
	for _, line := range strings.Split(string(text), "\n") {
		name, number, _ := strings.Cut(line, ": ")
		if n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64); err == nil {
			told[name] = n
		}
	}
	return counts{records: told["Flows"], octets: told["Bytes"], packets: told["Packets"]}, nil
}

// countNfacctd adds up the pairs: SRC_IP,DST_IP,PACKETS,BYTES.
func countNfacctd(e *execution) (counts, error) {
	c := counts{records: unknown}
	f, err := os.Open(e.file("pairs.csv"))
	if os.IsNotExist(err) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Split(lines.Text(), ",")
		if len(fields) != 4 || fields[0] == "SRC_IP" {
			continue
		}
		packets, err1 := strconv.ParseInt(fields[2], 10, 64)
		octets, err2 := strconv.ParseInt(fields[3], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return c, err
		}
		c.packets += packets
		c.octets += octets
	}
	log, err := os.ReadFile(e.file("log"))
	if n := strings.Count(string(log), "Missing data detected"); n > 0 {
		c.log = fmt.Sprintf("says %d times that its own pipe lost data", n)
	}
	return c, err
}

func countFastnetmon(e *execution) (counts, error) {
	metrics, err := scrape(e.http)
	return counts{records: int64(metrics["fastnetmon_total_simple_packets_processed"]), octets: unknown, packets: unknown}, err
}

// countGoflow2 adds up the flows where they were written as text.
func countGoflow2(e *execution) (counts, error) {
	c := counts{records: unknown, octets: unknown, packets: unknown}
	if !e.text {
		return c, nil
	}
	f, err := os.Open(e.file("flows.json"))
	if err != nil {
		return c, err
	}
	defer func() { _ = f.Close() }()
	c.records, c.octets, c.packets = 0, 0, 0
	for decoder := json.NewDecoder(f); ; {
		var flow struct {
			Bytes   int64 `json:"bytes"`
			Packets int64 `json:"packets"`
			Rate    int64 `json:"sampling_rate"`
		}
		if err := decoder.Decode(&flow); err == io.EOF {
			return c, nil
		} else if err != nil {
			return c, err
		}
		rate := max(flow.Rate, 1)
		c.records++
		c.octets += flow.Bytes * rate
		c.packets += flow.Packets * rate
	}
}

// scrape reads metrics without labels, as Prometheus would.
func scrape(port int) (map[string]float64, error) {
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	metrics := map[string]float64{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			metrics[name] = n
		}
	}
	return metrics, lines.Err()
}

func readJSON(name string, into any) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w: %q", name, err, text)
	}
	return nil
}
