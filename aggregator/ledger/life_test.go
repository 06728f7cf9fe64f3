package ledger

import (
	"testing"
	"time"

	"hostmeter/schemas"
)

// closedLondon is london, sold from 5 October on and closed from the 11th on.
const closedLondon = `services: [{id: london, customer: c1, plan: month, place: london, opened: 2026-10-05, closed: 2026-10-11}]`

// useAroundLondon uses an address of london before, in and after its life.
func useAroundLondon(w *world) {
	w.t.Helper()
	w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
	w.seal(41 * 24 * time.Hour)
	for day, octets := range map[int64]uint64{2: 1_000_000_000, 7: 2_500_000_000, 20: 4_000_000_000, 40: 8_000_000_000} {
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(day, 12, 0), octets, 0})
	}
	w.seal(3 * 24 * time.Hour)
}

func (w *world) checkLife() {
	w.t.Helper()
	t := w.t.(*testing.T)
	october := w.report("2026-10")
	var row = find(t, october, "london", 1)
	in, amount := row.InOctets, row.AmountExVAT
	for _, r := range october.Rows {
		if r.Service == "london" && r.Revision > 1 {
			in, amount = in+r.InOctets, amount.Add(r.AmountExVAT)
		}
	}
	if in != 2_500_000_000 || amount.String() != "0.5" {
		t.Errorf("statement: %d octets, %s", in, amount)
	}
	if len(october.Unowned) != 1 || october.Unowned[0].InOctets != 5_000_000_000 {
		t.Errorf("unowned in October: %+v", october.Unowned)
	}
	if november := w.report("2026-11"); len(november.Unowned) != 1 || november.Unowned[0].InOctets != 8_000_000_000 {
		t.Errorf("unowned in November: %+v", november.Unowned)
	}
	w.emit()
	sum := int64(0)
	records, err := w.ledger.UsageRecords(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		sum += r.Octets
	}
	if sum != 2_500_000_000 {
		t.Errorf("the feed tells %d octets", sum)
	}
	if findings, err := w.ledger.Verify(t.Context(), false); err != nil || len(findings) != 0 {
		t.Errorf("verify: %+v, %v", findings, err)
	}
}

// TestUsageAroundALifeIsNobodys imports an ownership that is longer than its service's life.
func TestUsageAroundALifeIsNobodys(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.importText(closedLondon)
		useAroundLondon(w)
		w.close()
		w.checkLife()
	})
}

// TestAServiceThatIsClosedLate ends its ownership, and so what was told and charged beyond it.
func TestAServiceThatIsClosedLate(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.importText(`services: [{id: london, customer: c1, plan: month, place: london, opened: 2026-10-05}]`)
		useAroundLondon(w)
		w.emit()
		w.close()
		w.importText(closedLondon)
		w.close()
		w.checkLife()
	})
}
