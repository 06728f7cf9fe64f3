package series

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	"github.com/influxdata/influxdb-client-go/v2/api/http"
	"github.com/influxdata/influxdb-client-go/v2/api/write"
	"pgregory.net/rapid"

	"hostmeter/internal/clock"
	"hostmeter/internal/config"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk"
	"hostmeter/schemas"
)

// fakeInflux keeps the last value of each point, as InfluxDB does.
type fakeInflux struct {
	mu     sync.Mutex
	points map[string]int64 // "measurement,tags minute field"
	refuse int              // so many writes are refused first
}

func (f *fakeInflux) write(_ context.Context, points ...*write.Point) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse > 0 {
		f.refuse--
		return errors.New("not now")
	}
	for _, p := range points {
		id := p.Name()
		for _, tag := range p.TagList() {
			id += "," + tag.Key + "=" + tag.Value
		}
		for _, field := range p.FieldList() {
			f.points[fmt.Sprintf("%s %d %s", id, p.Time().Unix(), field.Key)] = field.Value.(int64)
		}
	}
	return nil
}

func (f *fakeInflux) sum(field string) (sum int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, v := range f.points {
		if len(id) > len(field) && id[len(id)-len(field):] == field {
			sum += v
		}
	}
	return sum
}

// batch has one tally of an address and one guest's ten seconds, in a minute.
func batch(shard uint32, minute int64, octets uint64) *schemas.Batch {
	at := minute * int64(time.Minute)
	return &schemas.Batch{
		Shard: shard, ReceivedTo: at, Exporters: []string{"192.0.2.250"}, Classes: []string{schemas.ClassExternal},
		Tallies: []*schemas.Tally{{Meter: "address:192.0.2.9", Minute: minute, Out: &schemas.Traffic{Octets: octets, Packets: 1}}},
		Guests: []*schemas.GuestUsage{{
			Guest: "7b0c", Host: "hv1", From: at - int64(5*time.Second), To: at + int64(5*time.Second), CpuNanoseconds: 1_000_000_001, CapacityNanoseconds: 10_000_000_000,
		}},
	}
}

func newSink(t *testing.T, influx *fakeInflux) *Sink {
	t.Helper()
	db := storetest.SQLite(t, clock.Real{})
	cfg := Config{InfluxDB: &InfluxConfig{URL: "http://127.0.0.1:1", Bucket: "b", Token: config.NewSecret("t")}}
	s, err := New(cfg, Deps{DB: db, Clock: clock.Real{}, Owners: owned("s1")})
	if err != nil {
		t.Fatal(err)
	}
	s.write = influx.write
	return s
}

// owned says that all is of one service.
func owned(service string) func(context.Context) (Owner, error) {
	return func(context.Context) (Owner, error) {
		return func(schemas.MeterID, time.Time) (string, string) { return service, "c1" }, nil
	}
}

// reopen reads the position anew, as a sink that starts does.
func (s *Sink) reopen(ctx context.Context) error {
	return s.deps.DB.View(ctx, func(tx *store.Tx) error {
		states, err := readSaved(ctx, tx)
		s.minutes = newMinutes(states)
		return err
	})
}

const firstMinute = 29_600_000

// TestRepeatsAndRestartsChangeNothing kills the sink after every batch: the points hold the sums.
func TestRepeatsAndRestartsChangeNothing(t *testing.T) {
	influx := &fakeInflux{points: map[string]int64{}}
	sink := newSink(t, influx)
	var all []*schemas.Batch
	var octets, cpu int64
	for i := range 200 {
		b := batch(uint32(i%3), firstMinute+int64(i/2), uint64(1000+i))
		b.Collector, b.LogId, b.Index = "c", 1, uint64(i/3+1)
		all = append(all, b)
		octets += int64(1000 + i)
		cpu += 1_000_000_001
	}
	for i := 0; i < len(all); i += 7 {
		// A sink that starts anew reads from its saved position, which lies before what it has taken.
		if err := sink.reopen(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := sink.take(t.Context(), all[:min(i+7, len(all))]); err != nil {
			t.Fatal(err)
		}
	}
	if got := influx.sum("out_octets"); got != octets {
		t.Errorf("the series add up to %d octets, want %d", got, octets)
	}
	if got := influx.sum("cpu_nanoseconds"); got != cpu {
		t.Errorf("the series add up to %d ns of CPU, want %d", got, cpu)
	}
}

func TestLateUsageIsAddedBeside(t *testing.T) {
	influx := &fakeInflux{points: map[string]int64{}}
	sink := newSink(t, influx)
	index := uint64(0)
	take := func(minute int64, octets uint64) {
		t.Helper()
		index++
		b := batch(0, minute, octets)
		b.Collector, b.LogId, b.Index = "c", 1, index
		if err := sink.take(t.Context(), []*schemas.Batch{b}); err != nil {
			t.Fatal(err)
		}
	}
	take(firstMinute, 100)
	take(firstMinute+100, 10)
	take(firstMinute, 1) // its minute is closed
	if got := influx.sum("out_octets"); got != 111 {
		t.Errorf("the series add up to %d octets, want 111", got)
	}
}

func TestWritesAreRepeatedUntilTaken(t *testing.T) {
	influx := &fakeInflux{points: map[string]int64{}, refuse: 3}
	sink := newSink(t, influx)
	sink.deps.Clock = instant{}
	b := batch(0, firstMinute, 5)
	b.Collector, b.LogId, b.Index = "c", 1, 1
	if err := sink.take(t.Context(), []*schemas.Batch{b}); err != nil {
		t.Fatal(err)
	}
	if got := influx.sum("out_octets"); got != 5 || influx.refuse != 0 {
		t.Errorf("after three refusals the series hold %d octets, want 5", got)
	}
}

// instant is a clock whose sleeps are over at once.
type instant struct{ clock.Real }

func (instant) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// Two collectors, one of them hours behind: its minutes are open for it, and none is late.
func TestCollectorsHaveTheirOwnMinutes(t *testing.T) {
	influx := &fakeInflux{points: map[string]int64{}}
	sink := newSink(t, influx)
	take := func(collector string, index uint64, minute int64, octets uint64) {
		t.Helper()
		b := batch(0, minute, octets)
		b.Collector, b.LogId, b.Index = collector, 1, index
		if err := sink.take(t.Context(), []*schemas.Batch{b}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range int64(200) {
		take("now", uint64(i+1), firstMinute+300+i, 1)
	}
	for i := range int64(200) {
		take("behind", uint64(i+1), firstMinute+i, 1000)
	}
	if got := influx.sum("out_octets"); got != 200+200_000 {
		t.Errorf("the series add up to %d octets, want 200200", got)
	}
	for id := range influx.points {
		if strings.Contains(id, "late=") {
			t.Fatalf("%s is late, and its collector was only behind", id)
		}
	}
}

// After a restart the shards are read again at different paces. A minute is not closed, nor taken for
// late, before all that the earlier run had is there again.
func TestShardsAreRepeatedAtDifferentPaces(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		influx := &fakeInflux{points: map[string]int64{}}
		sink := newSink(t, influx)
		const shards, each = 3, 120
		var queues [shards][]*schemas.Batch
		var want int64
		for shard := range uint32(shards) {
			for i := range int64(each) {
				b := batch(shard, firstMinute+i-rapid.SampledFrom([]int64{0, 0, 1, 5, 20, 60}).Draw(rt, "age"), uint64(i+1))
				b.Shards, b.ReceivedTo = shards, (firstMinute+i)*int64(time.Minute)
				b.Collector, b.LogId, b.Index = "c", 1, uint64(i+1)
				queues[shard] = append(queues[shard], b)
				want += i + 1
			}
		}
		for range rapid.IntRange(1, 4).Draw(rt, "restarts") {
			if err := sink.reopen(t.Context()); err != nil {
				rt.Fatal(err)
			}
			position := sink.minutes.positions()
			var next [shards]int
			for shard := range next {
				next[shard] = int(position[stream.KeyOf(queues[shard][0])])
			}
			for range rapid.IntRange(1, 60).Draw(rt, "steps") {
				shard := rapid.IntRange(0, shards-1).Draw(rt, "shard")
				n := min(rapid.IntRange(1, 9).Draw(rt, "count"), each-next[shard])
				crash := rapid.IntRange(0, 9).Draw(rt, "crash") == 0
				if err := sink.takeUntil(t, queues[shard][next[shard]:next[shard]+n], crash); err != nil {
					rt.Fatal(err)
				}
				if crash { // the points are written, and nothing more
					break
				}
				next[shard] += n
			}
		}
		if err := sink.reopen(t.Context()); err != nil {
			rt.Fatal(err)
		}
		position := sink.minutes.positions()
		for shard := range queues {
			rest := queues[shard][position[stream.KeyOf(queues[shard][0])]:]
			if err := sink.take(t.Context(), rest); err != nil {
				rt.Fatal(err)
			}
		}
		if got := influx.sum("out_octets"); got != want {
			rt.Fatalf("the series add up to %d octets, want %d", got, want)
		}
	})
}

// One shard is read whole before the others begin: their minutes are still open.
func TestNoMinuteIsClosedBeforeAllShardsPassedIt(t *testing.T) {
	influx := &fakeInflux{points: map[string]int64{}}
	sink := newSink(t, influx)
	for shard := range uint32(3) {
		for i := range int64(200) {
			b := batch(shard, firstMinute+i, 1)
			b.Collector, b.LogId, b.Index, b.Shards = "c", 1, uint64(i+1), 3
			if err := sink.take(t.Context(), []*schemas.Batch{b}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := influx.sum("out_octets"); got != 600 {
		t.Errorf("the series add up to %d octets, want 600", got)
	}
	for id := range influx.points {
		if strings.Contains(id, "late=") {
			t.Fatalf("%s is late, and its shard was only read after another", id)
		}
	}
	if len(sink.minutes.sums) > 3*(openMinutes+2) {
		t.Errorf("%d sums are held, want those of about %d minutes", len(sink.minutes.sums), openMinutes)
	}
}

// takeUntil is take, or what it does until it is killed after its points were written.
func (s *Sink) takeUntil(t *testing.T, batches []*schemas.Batch, killed bool) error {
	t.Helper()
	if !killed {
		return s.take(t.Context(), batches)
	}
	if err := s.add(t.Context(), batches); err != nil {
		return err
	}
	if err := s.save(t.Context(), s.minutes.read(), writeSeen); err != nil {
		return err
	}
	return s.deliver(t.Context(), s.minutes.changed())
}

// One point that the server never takes is left out, and the others are written.
func TestRefusedPointIsLeftOut(t *testing.T) {
	influx := &fakeInflux{points: map[string]int64{}}
	sink := newSink(t, influx)
	sink.write = func(ctx context.Context, points ...*write.Point) error {
		for _, p := range points {
			if p.Time().Unix() == 60*(firstMinute+3) && p.Name() == "service_traffic" {
				return &http.Error{StatusCode: 422, Message: "field type conflict"}
			}
		}
		return influx.write(ctx, points...)
	}
	var all []*schemas.Batch
	for i := range int64(10) {
		b := batch(0, firstMinute+i, 1<<i)
		b.Collector, b.LogId, b.Index = "c", 1, uint64(i+1)
		all = append(all, b)
	}
	if err := sink.take(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if got := influx.sum("out_octets"); got != 1023-8 {
		t.Errorf("the series add up to %d octets, want all but the refused 8 of 1023", got)
	}
}

// A guest's vNIC has a series of its own, which does not add to its service's.
func TestVNIC(t *testing.T) {
	influx := &fakeInflux{points: map[string]int64{}}
	sink := newSink(t, influx)
	b := batch(0, firstMinute, 7)
	b.Collector, b.LogId, b.Index = "c", 1, 1
	b.Tallies[0].Meter = string(schemas.VNICMeter("7B0C", "52:54:00:00:00:01"))
	if err := sink.take(t.Context(), []*schemas.Batch{b}); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("guest_traffic,class=external,collector=c,customer=c1,guest=7b0c,mac=52:54:00:00:00:01,service=s1 %d out_octets", 60*firstMinute)
	if influx.points[want] != 7 {
		t.Fatalf("points %v, want %s", influx.points, want)
	}
}

// TestRealInfluxDBHoldsTheSum writes through a real server that is stopped in between.
func TestRealInfluxDBHoldsTheSum(t *testing.T) {
	url := os.Getenv("HOSTMETER_TEST_INFLUX")
	if url == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("HOSTMETER_TEST_INFLUX is not set: CI runs the tests by `make test`, which starts InfluxDB")
		}
		t.Skip("NOT TESTED ON INFLUXDB: HOSTMETER_TEST_INFLUX is not set; `make test-real` starts a server and sets it")
	}
	org, bucket, token := os.Getenv("HOSTMETER_TEST_INFLUX_ORG"), os.Getenv("HOSTMETER_TEST_INFLUX_BUCKET"), os.Getenv("HOSTMETER_TEST_INFLUX_TOKEN")
	service := fmt.Sprintf("s%d", time.Now().UnixNano())
	log, err := disk.Open(t.Context(), disk.Config{Path: t.TempDir(), SegmentSize: 1 << 20}, "lab", 2, disk.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	sink, err := New(Config{InfluxDB: &InfluxConfig{URL: url, Org: org, Bucket: bucket, Token: config.NewSecret(token)}},
		Deps{DB: storetest.SQLite(t, clock.Real{}), Source: stream.Source(log), Owners: owned(service)})
	if err != nil {
		t.Fatal(err)
	}
	sink.gatherFor = 100 * time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sink.Run(ctx) }()
	first := time.Now().Add(-time.Hour).Unix() / 60
	var want int64
	send := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			want += int64(1000 + i)
			if err := log.Append(t.Context(), []*schemas.Batch{batch(uint32(i%2), first+int64(i/10), uint64(1000+i))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(0, 100)
	restart := restarter(t)
	restart(func() { send(100, 200) })
	client := influxdb2.NewClient(url, token)
	defer client.Close()
	query := fmt.Sprintf(`from(bucket: %q) |> range(start: -3h) |> filter(fn: (r) => r._measurement == "service_traffic" and r.service == %q and r._field == "out_octets") |> group() |> sum()`, bucket, service)
	deadline := time.Now().Add(60 * time.Second)
	for {
		got, err := sumOf(t.Context(), client, org, query)
		if err == nil && got == want {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a Flux query adds up to %d octets (%v), %d were sent", got, err, want)
		}
		<-time.After(200 * time.Millisecond)
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the sink ended with %v", err)
	}
}

func sumOf(ctx context.Context, client influxdb2.Client, org, query string) (int64, error) {
	result, err := client.QueryAPI(org).Query(ctx, query)
	if err != nil {
		return 0, err
	}
	defer result.Close()
	var sum int64
	for result.Next() {
		if v, ok := result.Record().Value().(int64); ok {
			sum += v
		}
	}
	return sum, result.Err()
}

// restarter returns a function that stops the server, runs what happens meanwhile, and starts it again;
// where the test does not know the server's folder, it only runs it.
func restarter(t *testing.T) func(meanwhile func()) {
	t.Helper()
	data, version := os.Getenv("HOSTMETER_TEST_INFLUX_DATA"), os.Getenv("HOSTMETER_TEST_INFLUX_VERSION")
	if data == "" {
		return func(meanwhile func()) { meanwhile() }
	}
	script := filepath.Join("..", "..", "deploy", "testbed", "influx-up.sh")
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(script, args...)
		cmd.Env = append(os.Environ(), "INFLUX_VERSION="+version)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("influx-up.sh %v: %v\n%s", args, err, out)
		}
	}
	port := os.Getenv("HOSTMETER_TEST_INFLUX_PORT")
	return func(meanwhile func()) {
		run("--down", data)
		meanwhile()
		run(data, port)
	}
}
