package app

import (
	"context"
	"reflect"
	"testing"

	"hostmeter/internal/httpapi"
)

// TestBackendIsWhole: the API takes a part that is missing for one that this process does not have, and does without.
func TestBackendIsWhole(t *testing.T) {
	a, _, _ := appWithDesk(t, "")
	a.reload = func(context.Context) error { return nil }
	backend := reflect.ValueOf(a.backend())
	for i := range backend.NumField() {
		if name := backend.Type().Field(i).Name; backend.Field(i).IsNil() {
			t.Errorf("%s is missing", name)
		}
	}
}

// TestDeedsOfTheAPIAreInTheAuditLog notes what changes nothing in the store.
func TestDeedsOfTheAPIAreInTheAuditLog(t *testing.T) {
	a, at, _ := appWithDesk(t, "")
	log := a.backend().AuditLog
	if err := log.Note(t.Context(), "user:ada", httpapi.Deed{Action: "download evidence", Subject: "s1", Text: "evidence.pdf"}); err != nil {
		t.Fatal(err)
	}
	events, err := log.AuditEvents(t.Context(), "s1", 0, 10)
	want := httpapi.AuditEvent{Seq: 1, At: at.Now(), Actor: "user:ada", Action: "download evidence", Subject: "s1", Reason: "evidence.pdf"}
	if err != nil || len(events) != 1 || events[0] != want {
		t.Fatalf("%+v, %v, want %+v", events, err, want)
	}
}
