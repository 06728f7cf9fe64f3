package incident_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"hostmeter/detector/incident"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

var start = time.Date(2026, 10, 5, 12, 0, 0, 0, time.UTC)

func example(meter string, began time.Time) incident.Incident {
	return incident.Incident{Rule: "sustained-cpu", Meter: meter, Severity: "warning", Condition: "firing", BeganAt: began, Service: "s1", Customer: "c1",
		Evidence: incident.Evidence{RuleText: "- name: sustained-cpu", Metric: "cpu_ratio", Threshold: 0.9, Share: 0.97, Coverage: 1,
			Series: incident.Series{From: began, CellSeconds: 300, Cells: "##.?", Values: []incident.Value{{At: began, Value: 0.99}}}}}
}

func open(t *testing.T, db *store.DB, s *incident.Store, i incident.Incident) (id string, opened bool) {
	t.Helper()
	err := db.Update(context.Background(), func(tx *store.Tx) (err error) {
		opened, err = s.OpenTx(context.Background(), tx, i)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return incident.NewID(i.Rule, i.Meter, i.BeganAt), opened
}

func TestOneConditionOneIncident(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		s := incident.New(db, "webhook", "alertmanager")
		id, opened := open(t, db, s, example("guest:1", start))
		if !opened {
			t.Fatal("it was not opened")
		}
		if _, err := s.Acknowledge(ctx, id, "user:ada", "mine"); err != nil {
			t.Fatal(err)
		}
		if _, opened := open(t, db, s, example("guest:1", start)); opened {
			t.Fatal("the same condition opened a second incident")
		}
		i, err := s.Get(ctx, id)
		if err != nil || i.AcknowledgedBy != "user:ada" || i.Note != "mine" || !i.AcknowledgedAt.Equal(c.Now()) {
			t.Fatalf("the second opening changed the first: %+v, %v", i, err)
		}
		if i.Evidence.Series.Values[0].Value != 0.99 || i.Evidence.Series.Cells != "##.?" {
			t.Errorf("evidence %+v", i.Evidence)
		}
		if sent, err := s.Notifications(ctx, id); err != nil || len(sent) != 2 || sent[0].Outcome != "pending" {
			t.Errorf("notifications %+v, %v, want one for each receiver", sent, err)
		}
		if _, opened := open(t, db, s, example("guest:1", start.Add(time.Hour))); !opened {
			t.Fatal("a condition that began later is another incident")
		}
	})
}

func TestLifeOfAnIncident(t *testing.T) {
	storetest.EachWithClock(t, clock.NewManual(start), func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		s := incident.New(db, "webhook")
		id, _ := open(t, db, s, example("guest:1", start))
		if i, err := s.Assign(ctx, id, "user:ada", "user:bob"); err != nil || i.AssignedTo != "user:bob" {
			t.Fatalf("%+v, %v", i, err)
		}
		i, err := s.Silence(ctx, id, start.Add(time.Hour), "user:ada", "known")
		if err != nil || !i.Silenced(start) || i.Silenced(start.Add(time.Hour)) {
			t.Fatalf("%+v, %v", i, err)
		}
		if i, err = s.Resolve(ctx, id, "user:ada", "agreed"); err != nil || i.State != incident.Resolved || i.ResolvedBy != "user:ada" {
			t.Fatalf("%+v, %v", i, err)
		}
		for what, do := range map[string]func() error{
			"acknowledge": func() error { _, err := s.Acknowledge(ctx, id, "x", ""); return err },
			"silence":     func() error { _, err := s.Silence(ctx, id, start, "x", ""); return err },
			"resolve":     func() error { _, err := s.Resolve(ctx, id, "x", ""); return err },
		} {
			if err := do(); !errors.Is(err, incident.ErrResolved) {
				t.Errorf("%s of a resolved incident: %v, want ErrResolved", what, err)
			}
		}
		if _, err := s.Acknowledge(ctx, "inc-none", "x", ""); !errors.Is(err, incident.ErrNotFound) {
			t.Errorf("unknown id: %v, want ErrNotFound", err)
		}
		events, err := s.Events(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, e := range events {
			got += e.Action + " by " + e.Actor + "; "
		}
		if want := "opened by detector; assigned by user:ada; silenced by user:ada; resolved by user:ada; "; got != want {
			t.Errorf("history %q, want %q", got, want)
		}
	})
}

func TestListFilters(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		s := incident.New(db)
		first := c.Now()
		var ids []string
		for _, meter := range []string{"guest:1", "guest:2", "guest:3"} {
			id, _ := open(t, db, s, example(meter, start))
			ids = append(ids, id)
			c.Advance(time.Hour)
		}
		if _, err := s.Resolve(ctx, ids[0], "user:ada", ""); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Acknowledge(ctx, ids[1], "user:ada", ""); err != nil {
			t.Fatal(err)
		}
		yes, no := true, false
		f := func(filter incident.Filter, want ...string) {
			t.Helper()
			list, err := s.List(ctx, filter)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, i := range list {
				got = append(got, i.ID)
			}
			if len(got) != len(want) {
				t.Fatalf("%+v: got %v, want %v", filter, got, want)
			}
			for k := range want {
				if got[k] != want[k] {
					t.Fatalf("%+v: got %v, want %v", filter, got, want)
				}
			}
		}
		f(incident.Filter{}, ids[2], ids[1], ids[0])
		f(incident.Filter{State: incident.Open}, ids[2], ids[1])
		f(incident.Filter{State: incident.Resolved}, ids[0])
		f(incident.Filter{Acknowledged: &yes}, ids[1])
		f(incident.Filter{Acknowledged: &no, State: incident.Open}, ids[2])
		f(incident.Filter{Meter: "guest:2", Customer: "c1"}, ids[1])
		f(incident.Filter{Service: "s2"})
		f(incident.Filter{Severity: "critical"})
		f(incident.Filter{From: first, To: first.Add(time.Hour)}, ids[0])
		f(incident.Filter{Since: first.Add(5 * time.Hour)}, ids[2], ids[1]) // still open
		f(incident.Filter{Limit: 1}, ids[2])
		f(incident.Filter{Limit: 1, Before: ids[2]}, ids[1])
		counts, err := s.Counts(ctx)
		if err != nil || counts[[2]string{"sustained-cpu", "open"}] != 2 || counts[[2]string{"sustained-cpu", "resolved"}] != 1 {
			t.Errorf("counts %v, %v", counts, err)
		}
	})
}
