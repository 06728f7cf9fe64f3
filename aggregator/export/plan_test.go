package export

import (
	"strings"
	"testing"
	"time"
)

func TestPlanSendsNothing(t *testing.T) {
	l := sqliteLab(t)
	l.cfg.WHMCS.Delay = time.Hour
	l.books.close("s1", "c1", "60", 1, start)
	l.books.close("s2", "ada", "60", 1, start)
	l.books.close("s3", "c1", "0", 1, start)
	check := func() {
		t.Helper()
		list, err := l.process().Plan(t.Context(), 10)
		if err != nil || len(list) != 2 {
			t.Fatalf("%+v, %v", list, err)
		}
		if list[0].Request == nil || list[0].Request.Fields["amount"] != "60.00" || !strings.Contains(list[0].Note, "not before 2026-11-02T10:00:00Z") {
			t.Fatalf("%+v", list[0])
		}
		if list[1].Request != nil || !strings.Contains(list[1].Note, "handover.whmcs.clients") {
			t.Fatalf("%+v", list[1])
		}
	}
	check()
	if calls := l.server.Calls(); len(calls) != 0 {
		t.Fatalf("it called %v", calls)
	}
	if charges, err := l.process().Charges(t.Context()); err != nil || len(charges) != 0 {
		t.Fatalf("it wrote %+v, %v", charges, err)
	}
	_ = l.process().biller.enter(t.Context())
	check()
}
