package app

import (
	"context"
	"reflect"
	"testing"

	"hostmeter/internal/httpapi"
	"hostmeter/internal/store"
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

// TestReadinessChangesNothing probes a ledger whose watermarks cannot be read, and one that is closed.
func TestReadinessChangesNothing(t *testing.T) {
	a, _, _ := appWithDesk(t, "")
	if err := a.desk.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), `ALTER TABLE watermark RENAME TO unread`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := a.readiness(t.Context()); err != nil {
		t.Errorf("a probe read the ledger's watermarks: %v", err)
	}
	if err := a.desk.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.readiness(t.Context()); err == nil {
		t.Error("a store that is closed is ready")
	}
}
