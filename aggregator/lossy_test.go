package aggregator

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

// TestLostRepliesBookNothingTwice lets an eighth of the commits lose their request, and an eighth their reply, on the
// way to a real PostgreSQL: the aggregator looks what is booked, and goes on behind it.
func TestLostRepliesBookNothingTwice(t *testing.T) {
	direct := storetest.EmptyPostgres(t)
	db := openStore(t, direct)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	counts := map[storetest.Fate]int{}
	random := rand.New(rand.NewPCG(1, 2))
	lossy := openStore(t, storetest.Lossy(t, direct, func() storetest.Fate {
		mu.Lock()
		defer mu.Unlock()
		fate := map[int]storetest.Fate{0: storetest.RequestLost, 1: storetest.ReplyLost}[random.IntN(8)]
		counts[fate]++
		return fate
	}))
	source := newMemorySource()
	for i := range uint32(200) {
		source.append(i%testShards, time.Duration(i)*time.Second, 1)
	}
	_, stop := running(t, Deps{Ledger: ledger.New(lossy, ledger.DefaultConfig()), Source: source, Clock: hasty{}})
	ctx := deadline(t)
	for look := time.NewTicker(5 * time.Millisecond); ; <-look.C {
		have, err := ledger.New(db, ledger.DefaultConfig()).ReadWatermarks(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if have.Reach(source.end()) {
			look.Stop()
			break
		}
	}
	stop()
	if got := octets(t, ledger.New(db, ledger.DefaultConfig())); got != 200 {
		t.Fatalf("got %d octets, want 200", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if counts[storetest.RequestLost] < 3 || counts[storetest.ReplyLost] < 3 {
		t.Fatalf("fates of commits: %v", counts)
	}
}

func openStore(t *testing.T, dsn string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), dsn, clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// hasty is the machine's clock, without its pauses.
type hasty struct{ clock.Real }

func (hasty) Sleep(ctx context.Context, _ time.Duration) error {
	return clock.Real{}.Sleep(ctx, time.Millisecond)
}
