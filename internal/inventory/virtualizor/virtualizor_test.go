package virtualizor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/inventory/virtualizor"
	"hostmeter/internal/store/storetest"
)

// panel is a Virtualizor that answers as its documentation shows: numbers as texts, objects by id, lists
// where there is nothing, pages of 50 whatever is asked for.
type panel struct {
	*httptest.Server
	plans, users, servers map[int]map[string]any
	break_                func(act string, page int) (status int, text string)
}

func newPanel(t *testing.T) *panel {
	p := &panel{plans: map[int]map[string]any{}, users: map[int]map[string]any{}, servers: map[int]map[string]any{}}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

func (p *panel) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	act := q.Get("act")
	page, _ := strconv.Atoi(q.Get("page"))
	if p.break_ != nil {
		if status, text := p.break_(act, page); status != 0 {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(text))
			return
		}
	}
	if q.Get("adminapikey") != "key" || q.Get("adminapipass") != "pass" || q.Get("api") != "json" {
		_, _ = w.Write([]byte("<html><title>Login</title></html>"))
		return
	}
	rows := map[string]map[int]map[string]any{"plans": p.plans, "users": p.users, "vs": p.servers}[act]
	ids := slices.Sorted(maps.Keys(rows))
	ids = ids[min(50*(page-1), len(ids)):min(50*page, len(ids))]
	var part any = []any{} // an empty PHP array
	if len(ids) > 0 {
		object := map[string]any{}
		for _, id := range ids {
			object[strconv.Itoa(id)] = rows[id]
		}
		part = object
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"title": act, act: part, "error": []any{}, "timenow": "1796000000", "time_taken": "0.022"})
}

func (p *panel) server(id, user, plan, bandwidth int, ips ...string) {
	object := map[string]any{}
	for i, ip := range ips {
		object[strconv.Itoa(100*id+i)] = ip
	}
	row := map[string]any{"vpsid": strconv.Itoa(id), "vps_name": fmt.Sprint("v", 1000+id), "serid": 0, "time": "1789000000", "uid": strconv.Itoa(user), "plid": strconv.Itoa(plan),
		"hostname": fmt.Sprintf("h%d.example.net", id), "bandwidth": strconv.Itoa(bandwidth), "email": "ada@example.net", "suspend_reason": nil, "ips": object}
	if len(ips) == 0 {
		row["ips"] = []any{}
	}
	p.servers[id] = row
}

func (p *panel) read(t *testing.T) *virtualizor.State {
	t.Helper()
	c := virtualizor.Client{URL: p.URL + "/", Key: "key", Pass: "pass"}
	state, err := c.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state
}

var start = time.Date(2026, 11, 2, 9, 1, 0, 0, time.UTC)

const books = `
provider: {name: Example Hosting, time_zone: Europe/London, currency: GBP}
prices: [{sku: overage, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: TB, begun: true, amount: "60.00"}]
plans: [{name: dedicated, quota: 10 TB}]
customers: [{id: c1, name: Ada}]
services: [{id: d1, customer: c1, plan: dedicated, place: london, opened: 2026-01-01}]
ownership: [{service: d1, key: "address:192.0.2.200", from: 2026-01-01T00:00:00Z}]
`

type world struct {
	*panel
	t   *testing.T
	inv *inventory.Inventory
	o   virtualizor.Options
}

func newWorld(t *testing.T) *world {
	w := &world{panel: newPanel(t), t: t, inv: inventory.New(storetest.SQLite(t, clock.NewManual(start))), o: virtualizor.DefaultOptions()}
	w.o.Place, w.o.Since = "london", time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	w.put([]byte(books))
	return w
}

func (w *world) put(text []byte) inventory.Difference {
	w.t.Helper()
	d, err := w.inv.Import(context.Background(), []inventory.File{{Name: "import.yaml", Text: text}}, false)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, text)
	}
	return d
}

func (w *world) snapshot() *inventory.Snapshot {
	w.t.Helper()
	s, err := w.inv.Snapshot(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// take imports what the panel says at a time, and says that a second time changes nothing.
func (w *world) take(at time.Time) (remarks []string) {
	w.t.Helper()
	rows, remarks, err := virtualizor.Rows(w.read(w.t), w.snapshot(), w.o, at)
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(virtualizor.YAML(rows))
	before := w.snapshot().Version
	rows, _, err = virtualizor.Rows(w.read(w.t), w.snapshot(), w.o, at.Add(time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	if len(rows) > 0 {
		w.put(virtualizor.YAML(rows))
	}
	if after := w.snapshot().Version; after != before {
		w.t.Fatalf("a second import changed something:\n%s", virtualizor.YAML(rows))
	}
	return remarks
}

// owner checks who owned an address when; "" is nobody.
func (w *world) owner(key string, at time.Time, want string) {
	w.t.Helper()
	parsed := "address:" + key
	for _, o := range w.snapshot().Ownerships() {
		if string(o.Key) == parsed && !at.Before(o.From) && (o.Until.IsZero() || at.Before(o.Until)) {
			if o.Service != want {
				w.t.Fatalf("%s belonged to %s at %s, want %q", key, o.Service, at, want)
			}
			return
		}
	}
	if want != "" {
		w.t.Fatalf("nobody owned %s at %s, want %s", key, at, want)
	}
}

func TestImport(t *testing.T) {
	w := newWorld(t)
	w.plans[1] = map[string]any{"plid": "1", "plan_name": "KVM 2 GB", "bandwidth": "1000"}
	w.plans[2] = map[string]any{"plid": "2", "plan_name": "KVM 2 GB", "bandwidth": "0"}
	w.users[55] = map[string]any{"uid": "55", "email": "ada@example.net"}
	w.server(37, 55, 1, 1000, "192.0.2.9", "2001:db8:7::/64")
	w.server(38, 55, 1, 2000, "192.0.2.10")
	w.server(39, 56, 2, 0)
	w.server(40, 56, 0, 5, "192.0.2.200") // which belongs to a server that is no virtual one
	remarks := w.take(start)
	if len(remarks) != 1 || !strings.Contains(remarks[0], "address:192.0.2.200 belongs to d1") {
		t.Fatalf("remarks %q", remarks)
	}
	s := w.snapshot()
	f := func(service, customer, plan, quota, from string) {
		t.Helper()
		got, ok := s.ServiceByID(service)
		contract, err := s.Contract(service, start)
		if !ok || err != nil || got.Customer != customer || got.Plan != plan || contract.Quota.Value.String() != quota || string(contract.Quota.Level) != from || got.Opened.String() != "2026-09-10" {
			t.Fatalf("%+v, %+v, %v", got, contract.Quota, err)
		}
	}
	f("vz-37", "vz-u55", "vz-KVM-2-GB", "1000 GiB", "plan")
	f("vz-38", "vz-u55", "vz-KVM-2-GB", "2000 GiB", "contract")
	f("vz-39", "vz-u56", "vz-KVM-2-GB-2", "unlimited", "plan")
	f("vz-40", "vz-u56", "vz-plan-0", "5 GiB", "contract")
	since := w.o.Since
	w.owner("192.0.2.9", since.Add(-time.Minute), "")
	w.owner("192.0.2.9", since, "vz-37")
	w.owner("2001:db8:7::/64", since, "vz-37")
	w.owner("192.0.2.200", start, "d1")
}

// TestChanges: an address that moved, one that was added, a server that is gone, another quota, and settings
// of ours that stay.
func TestChanges(t *testing.T) {
	w := newWorld(t)
	w.plans[1] = map[string]any{"plid": "1", "plan_name": "small", "bandwidth": "1000"}
	w.server(37, 55, 1, 1000, "192.0.2.9", "192.0.2.11")
	w.server(38, 55, 1, 1000, "192.0.2.10")
	w.take(start)
	w.put([]byte(`
customers: [{id: vz-u55, name: Ada Ltd, email: ada@example.net, reseller: c1}]
services: [{id: vz-37, customer: vz-u55, plan: vz-small, place: london, opened: 2026-09-10, direction: out, internal: true}]
`))
	later := start.Add(72 * time.Hour)
	moved := time.Date(2026, 11, 5, 9, 5, 0, 0, time.UTC) // the next slot
	delete(w.servers, 38)
	w.server(37, 55, 1, 3000, "192.0.2.10", "192.0.2.11")
	w.server(41, 55, 1, 1000, "192.0.2.9", "192.0.2.12")
	remarks := w.take(later)
	if len(remarks) != 1 || remarks[0] != "service vz-38 is gone and is closed" {
		t.Fatalf("remarks %q", remarks)
	}
	w.owner("192.0.2.9", moved.Add(-time.Second), "vz-37")
	w.owner("192.0.2.9", moved, "vz-41")
	w.owner("192.0.2.10", moved.Add(-time.Second), "vz-38")
	w.owner("192.0.2.10", moved, "vz-37")
	w.owner("192.0.2.11", moved, "vz-37")
	w.owner("192.0.2.12", w.o.Since, "vz-41")
	s := w.snapshot()
	gone, _ := s.ServiceByID("vz-38")
	kept, _ := s.ServiceByID("vz-37")
	customer, _ := s.CustomerByID("vz-u55")
	if gone.Closed.String() != "2026-11-06" || kept.Direction != "out" || kept.Internal == nil || !*kept.Internal || kept.Quota.String() != "" || customer.Name != "Ada Ltd" || customer.Reseller != "c1" {
		t.Fatalf("%+v\n%+v\n%+v", gone, kept, customer)
	}
	w.terms("vz-37", moved.Add(-time.Second), "vz-small", "1000 GiB")
	w.terms("vz-37", moved, "vz-small", "3000 GiB")
	w.server(38, 55, 1, 1000)
	if remarks := w.take(later.Add(24 * time.Hour)); len(remarks) != 1 || !strings.Contains(remarks[0], "is there again") {
		t.Fatalf("remarks %q", remarks)
	}
}

// TestEverySettingStays: a row says everything about its key, so one that is written again carries all that
// the inventory has.
func TestEverySettingStays(t *testing.T) {
	w := newWorld(t)
	w.plans[1] = map[string]any{"plid": "1", "plan_name": "small", "bandwidth": "1000"}
	w.server(37, 55, 1, 2000, "192.0.2.9")
	w.server(38, 55, 1, 1000)
	w.take(start)
	const rules = `direction: in, period: anniversary, block: 1 GiB, sku: overage, bills: address, internal: true, missing: hold,
  grace: 10 % threshold, sampled: hold, partial: prorated, free: backup peering,
  notice_at: 50 90, notice_forecast: 70 %, notice_spike: 200 % 2h, decide_within: 24h, time_zone: Europe/Berlin`
	texts := map[string]string{
		"plans":     "{name: vz-small, class: vps, quota: 1000 GiB, " + rules + "}",
		"customers": "{id: vz-u55, name: Ada Ltd, email: ada@example.net, reseller: c1, rate_bought: 500 Mbit/s}",
		"services": "{id: vz-37, customer: vz-u55, plan: vz-small, place: london, currency: GBP, opened: 2026-09-10, closed: 2029-01-01, committed_until: 2028-09-10, quota: 2000 GiB, " +
			strings.Replace(rules, "true", "false", 1) + "}\n  - {id: vz-38, customer: vz-u55, plan: vz-small, place: london, currency: GBP, opened: 2026-09-10, committed_until: 2028-09-10, " + rules + "}",
	}
	var text strings.Builder
	for section, row := range texts {
		text.WriteString(section + ":\n  - " + row + "\n")
		for _, column := range inventory.Columns(section) { // a column that is new is to be set here
			if !strings.Contains(row, column+": ") {
				t.Fatalf("%s: %s is not set", section, column)
			}
		}
	}
	w.put([]byte(text.String()))
	rows, _, err := virtualizor.Rows(w.read(t), w.snapshot(), w.o, start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if lines := w.put(virtualizor.YAML(rows)).Lines(); len(lines) != 0 {
		t.Fatalf("it changed %q\n%s", lines, virtualizor.YAML(rows))
	}
	clear(w.servers)
	rows, _, err = virtualizor.Rows(w.read(t), w.snapshot(), w.o, start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	lines := w.put(virtualizor.YAML(rows)).Lines()
	if !slices.Contains(lines, "~ service vz-37: closed 2029-01-01 -> 2026-11-03") || !slices.Contains(lines, "~ service vz-38: closed (none) -> 2026-11-03") {
		t.Fatalf("it changed %q\n%s", lines, virtualizor.YAML(rows))
	}
}

// terms checks which plan and quota a service has at a time.
func (w *world) terms(service string, at time.Time, plan, quota string) {
	w.t.Helper()
	c, err := w.snapshot().Contract(service, at)
	if err != nil || c.Plan != plan || c.Quota.Value.String() != quota {
		w.t.Fatalf("%s has %s, %s at %s, %v; want %s, %s", service, c.Plan, c.Quota.Value, at, err, plan, quota)
	}
}

// TestOtherTermsAreOrdered: what the panel has changed applies from now on or, less, from the anniversary on, and
// never to the past; what was imported as ordered stays.
func TestOtherTermsAreOrdered(t *testing.T) {
	w := newWorld(t)
	w.plans[1] = map[string]any{"plid": "1", "plan_name": "small", "bandwidth": "1000"}
	w.plans[2] = map[string]any{"plid": "2", "plan_name": "big", "bandwidth": "5000"}
	for id := 37; id <= 41; id++ {
		w.server(id, 55, 1, 1000)
	}
	w.server(40, 55, 2, 5000)
	w.take(start)
	w.put([]byte(`changes: [{service: vz-41, at: 2026-11-02T10:00:00Z, quota: 700 GiB}, {service: vz-39, at: 2026-12-24T00:00:00Z, plan: vz-big}]`))
	later := time.Date(2026, 11, 5, 9, 1, 0, 0, time.UTC)
	slot := inventory.SlotAfter(later)
	w.plans[1]["bandwidth"] = "2000" // of new servers: those that are there have their own
	w.server(37, 55, 2, 5000)
	w.server(38, 55, 1, 500)
	w.server(40, 56, 1, 1000)
	w.server(42, 55, 1, 2000)
	remarks := strings.Join(w.take(later), "\n")
	for _, want := range []string{"plan vz-small has 1000 GiB here and 2000 GiB", "service vz-40 belongs to customer vz-u55 here and to vz-u56", "service vz-41 has another plan or quota ordered"} {
		if !strings.Contains(remarks, want) {
			t.Fatalf("remarks %s\nwant %q", remarks, want)
		}
	}
	anniversary := time.Date(2026, 11, 10, 0, 0, 0, 0, time.UTC) // opened on 10 September
	w.terms("vz-37", slot.Add(-1), "vz-small", "1000 GiB")
	w.terms("vz-37", slot, "vz-big", "5000 GiB")
	w.terms("vz-38", anniversary.Add(-1), "vz-small", "1000 GiB")
	w.terms("vz-38", anniversary, "vz-small", "500 GiB")
	w.terms("vz-39", slot, "vz-small", "1000 GiB")
	w.terms("vz-39", time.Date(2026, 12, 24, 0, 0, 0, 0, time.UTC), "vz-big", "5000 GiB")
	w.terms("vz-40", anniversary.Add(-1), "vz-big", "5000 GiB")
	w.terms("vz-40", anniversary, "vz-small", "1000 GiB")
	w.terms("vz-41", anniversary, "vz-small", "700 GiB")
	w.terms("vz-42", slot, "vz-small", "2000 GiB")
	if kept, _ := w.snapshot().ServiceByID("vz-40"); kept.Customer != "vz-u55" {
		t.Fatalf("%+v", kept)
	}
	w.server(37, 55, 1, 800) // a quota of its own, and then the plan's again
	w.take(later.Add(2 * time.Hour))
	w.server(37, 55, 1, 6000)
	w.take(later.Add(4 * time.Hour))
	w.terms("vz-37", later.Add(5*time.Hour), "vz-small", "6000 GiB")
}

func TestTheSameQuotaInAnotherUnitIsTheSame(t *testing.T) {
	w := newWorld(t)
	w.plans[1] = map[string]any{"plid": "1", "plan_name": "small", "bandwidth": "1024"}
	w.server(37, 55, 1, 1024)
	w.take(start)
	w.put([]byte(`plans: [{name: vz-small, quota: 1 TiB}]`))
	before := w.snapshot().Version
	w.server(38, 55, 1, 1024)
	if remarks := w.take(start.Add(time.Hour)); len(remarks) != 0 || len(w.snapshot().Changes()) != 0 || w.snapshot().Version != before+1 {
		t.Fatalf("remarks %q, changes %+v", remarks, w.snapshot().Changes())
	}
	if s, _ := w.snapshot().ServiceByID("vz-38"); s.Quota.Unit != "" {
		t.Fatalf("%+v", s)
	}
}

// TestARateIsNotThePanels: a plan that you have made one of a percentile stays one, for new servers too.
func TestARateIsNotThePanels(t *testing.T) {
	w := newWorld(t)
	w.plans[1] = map[string]any{"plid": "1", "plan_name": "port", "bandwidth": "1000"}
	w.put([]byte(`
prices: [{sku: rate, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: Mbit/s, begun: true, amount: "1.00"}]
plans: [{name: vz-port, quota: 100 Mbit/s, direction: p95, sku: rate}]
`))
	w.server(37, 55, 1, 1000)
	w.take(start)
	w.server(37, 55, 1, 2000)
	w.server(38, 55, 1, 500)
	if remarks := w.take(start.Add(time.Hour)); len(remarks) != 0 || len(w.snapshot().Changes()) != 0 {
		t.Fatalf("remarks %q, changes %+v", remarks, w.snapshot().Changes())
	}
	w.terms("vz-37", start, "vz-port", "100 Mbit/s")
	w.terms("vz-38", start, "vz-port", "100 Mbit/s")
}

func TestAllPagesAreRead(t *testing.T) {
	w := newWorld(t)
	for i := range 173 {
		w.server(1000+i, 55, 0, 10, fmt.Sprintf("10.0.%d.%d", i/200, i%200))
	}
	if n := len(w.read(t).Servers); n != 173 {
		t.Fatalf("%d servers", n)
	}
	w.break_ = func(act string, page int) (int, string) { // the last page again and again
		if act == "vs" && page > 4 {
			return 200, `{"vs": {"1172": {"vpsid": "1172", "time": 1789000000, "ips": {"1": "10.0.0.172"}}}}`
		}
		return 0, ""
	}
	if n := len(w.read(t).Servers); n != 173 {
		t.Fatalf("%d servers", n)
	}
}

// TestHalfAnAnswerIsNone: what cannot be read must not look like servers that are gone.
func TestHalfAnAnswerIsNone(t *testing.T) {
	f := func(status int, text, says string) {
		t.Helper()
		w := newWorld(t)
		for i := range 60 {
			w.server(1000+i, 55, 0, 10)
		}
		w.break_ = func(act string, page int) (int, string) {
			if act == "vs" && page == 2 {
				return status, text
			}
			return 0, ""
		}
		c := virtualizor.Client{URL: w.URL, Key: "key", Pass: "pass"}
		_, err := c.Read(t.Context())
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "pass=") {
			t.Fatalf("got %v", err)
		}
	}
	f(500, "", "vs, page 2: 500")
	f(200, "<html>", "not JSON")
	f(200, `{"vs": {"1`, "not JSON")
	f(200, `{"error": {"noperm": "You do not have the permission"}, "vs": []}`, "You do not have the permission")
	f(200, `{"title": "x"}`, `no "vs"`)
	f(200, `{"vs": {"7": {"ips": {"1": "300.1.1.1"}}}}`, "virtual server 7: ips")
	f(200, `{"vs": {"7": {"bandwidth": "-1"}}}`, "virtual server 7: bandwidth")
	f(200, `{"vs": {"x": {}}}`, "no number")

	w := newWorld(t)
	c := virtualizor.Client{URL: w.URL, Key: "key", Pass: "wrong"}
	if _, err := c.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "key and password") {
		t.Fatalf("got %v", err)
	}
	w.Close()
	if _, err := c.Read(t.Context()); err == nil || strings.Contains(err.Error(), "wrong") {
		t.Fatalf("got %v", err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	w := newWorld(t)
	w.server(1, 5, 0, 10, "192.0.2.1")
	w.server(2, 5, 0, 10, "192.0.2.1")
	if _, _, err := virtualizor.Rows(w.read(t), w.snapshot(), w.o, start); err == nil || !strings.Contains(err.Error(), "address:192.0.2.1 belongs to vz-1 and to vz-2") {
		t.Fatalf("got %v", err)
	}
	clear(w.servers)
	for i := range 20 {
		w.server(i+1, 5, 0, 10)
	}
	w.take(start)
	clear(w.servers)
	if _, _, err := virtualizor.Rows(w.read(t), w.snapshot(), w.o, start); !errors.Is(err, virtualizor.ErrManyGone) {
		t.Fatalf("got %v", err)
	}
	w.o.MayClose = 20
	w.take(start.Add(time.Hour))
}
