package detector_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"hostmeter/detector"
	"hostmeter/internal/clock"
	"hostmeter/internal/store/storetest"
)

// TestOwnersThatCannotBeReadAreAskedAgain has the inventory away when each hour begins: what is over a service, its
// customer and its reseller fires as if it had been there, and nothing was attributed to nobody.
func TestOwnersThatCannotBeReadAreAskedAgain(t *testing.T) {
	const rules = `rules:
  - {name: service, metric: out_packets_per_second, above: 1500, for: 2h, at_least: 1, coverage: 0.8, each: service}
  - {name: customer, metric: out_packets_per_second, above: 1500, for: 2h, at_least: 1, coverage: 0.8, each: customer}
  - {name: reseller, metric: out_packets_per_second, above: 1500, for: 2h, at_least: 1, coverage: 0.8, each: reseller}
`
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	db, log, at := storetest.SQLite(t, clock.Real{}), newMemory(), clock.NewManual(begin)
	cfg := detector.DefaultConfig()
	cfg.Rules, cfg.Checkpoint = path, time.Second
	var away atomic.Int32
	d, err := detector.New(cfg, detector.Deps{DB: db, Source: log, Clock: at, Owners: func(context.Context) (detector.Owner, error) {
		if away.Add(-1) >= 0 {
			return nil, errors.New("the store is away")
		}
		return ownerOfTwo, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	<-log.opened
	for i := uint64(1); i <= 5*60; i++ {
		if i%60 == 1 {
			away.Store(3)
		}
		log.Add(hot(i))
		until(t, func() bool { at.Advance(time.Second); return positionIs(t, db, int64(i))() })
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for _, rule := range []string{"service", "customer", "reseller"} {
		if n := number(t, db, `SELECT COUNT(*) FROM incident WHERE rule = '`+rule+`'`); n != 1 {
			t.Errorf("%d incidents of the %s, want 1", n, rule)
		}
	}
	if n := number(t, db, `SELECT COUNT(*) FROM incident`); n != 3 {
		t.Errorf("%d incidents, want 3", n)
	}
}
