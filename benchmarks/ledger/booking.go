package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"hostmeter/aggregator"
	"hostmeter/aggregator/ledger"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk"
	"hostmeter/internal/stream/kafka"
	"hostmeter/schemas"
)

// way is one way from a collector's batches into a ledger.
type way struct {
	name, store, broker string
	bar                 float64 // meter-minutes a second
	cost                cost
}

// booking books the same batches on both ways and says what a meter-minute costs.
func booking(ctx context.Context, o options, r *report) error {
	meterMinutes := float64(o.addresses * o.minutes)
	ways := []*way{{name: "embedded: log on disk, SQLite", store: "sqlite:" + filepath.Join(o.dir, "booking", "ledger.db"), bar: 100_000}}
	if o.kafka != "" && o.postgres != "" {
		ways = append(ways, &way{name: "distributed: log on disk, Kafka, PostgreSQL", store: o.postgres, broker: o.kafka, bar: 50_000})
	}
	for i, w := range ways {
		say("booking %s meter-minutes, %s", number(meterMinutes), w.name)
		if err := w.run(ctx, o, filepath.Join(o.dir, fmt.Sprintf("log%d", i))); err != nil {
			return err
		}
	}
	r.text("## Booking\n")
	r.text("%s addresses, %d minutes, a tally of both directions with features and sketches for each address and minute: %s meter-minutes in %d shards.",
		number(float64(o.addresses)), o.minutes, number(meterMinutes), shards)
	r.text("The batches are appended to the log on disk (fsync) while the aggregator books them with its default settings; the time ends when the ledger")
	r.text("has the last watermark. CPU seconds are of all that takes part, maker of the load, broker and database included; that of the servers alone stands beside.\n")
	r.head("way", "meter-minutes a second", "bar", "wall, s", "CPU s", "of it servers", "CPU s per million", "times embedded")
	for _, w := range ways {
		cpu := w.cost.cpu + w.cost.servers
		embedded := ways[0].cost.cpu + ways[0].cost.servers
		r.row(w.name, number(meterMinutes/w.cost.wall), number(w.bar), seconds(w.cost.wall), seconds(cpu), seconds(w.cost.servers),
			fmt.Sprintf("%.2f", cpu/meterMinutes*1e6), fmt.Sprintf("%.1f", cpu/embedded))
	}
	r.text("")
	return nil
}

func (w *way) run(ctx context.Context, o options, dir string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	db, err := openStore(ctx, w.store)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	cfg := disk.DefaultConfig()
	cfg.Path = dir
	log, err := disk.Open(ctx, cfg, "bench", shards, disk.Deps{})
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	var source stream.Source = log
	if w.broker != "" {
		broker, err := kafka.New(kafka.Config{Brokers: []string{w.broker}, TopicPrefix: fmt.Sprintf("bench%d-", time.Now().UnixNano())}, kafka.Deps{})
		if err != nil {
			return err
		}
		defer func() { _ = broker.Close() }()
		if err := broker.EnsureTopics(ctx); err != nil {
			return err
		}
		running.Go(func() { _ = kafka.NewForwarder(broker, log).Run(ctx) })
		source = broker
	}
	books := ledger.New(db, ledger.DefaultConfig())
	agg, err := aggregator.New(aggregator.DefaultConfig(), aggregator.Deps{Ledger: books, Source: source})
	if err != nil {
		return err
	}
	running.Go(func() { _ = agg.Run(ctx) })
	begin := time.Now().UTC().Truncate(time.Hour).Add(-24 * time.Hour)
	batches := batchesOf(o.addresses, 1, begin, time.Minute)
	servers := ""
	if w.broker != "" {
		servers = o.pids
	}
	w.cost, err = measure(servers, func() error {
		end, err := feed(ctx, log, batches, o.minutes, begin)
		if err != nil {
			return err
		}
		return agg.WaitFor(ctx, end)
	})
	if err != nil {
		return err
	}
	return w.check(ctx, books, o, begin)
}

// feed appends minute after minute and returns where the log ends.
func feed(ctx context.Context, log *disk.Log, batches []*schemas.Batch, minutes int, begin time.Time) (stream.Watermarks, error) {
	for minute := range minutes {
		at := begin.Add(time.Duration(minute) * time.Minute)
		observe(batches, at.Truncate(time.Hour), at.Add(-time.Minute))
		for _, b := range batches {
			b.ReceivedFrom, b.ReceivedTo = at.UnixNano(), at.Add(time.Minute).UnixNano()
			for _, t := range b.Tallies {
				t.Minute = at.Unix() / 60
			}
		}
		if err := log.Append(ctx, batches); err != nil {
			return nil, err
		}
	}
	end := stream.Watermarks{}
	for _, b := range batches {
		end[stream.KeyOf(b)] = b.Index
	}
	return end, nil
}

// check holds the ledger's sum against what was made.
func (w *way) check(ctx context.Context, books *ledger.Ledger, o options, begin time.Time) error {
	var want, got schemas.Octets
	for i := range o.addresses {
		in, out := octetsOf(i, int(begin.Unix()/300))
		want += schemas.Octets(in+out) * schemas.Octets(o.minutes)
	}
	err := books.Days(ctx, ledger.Query{}, func(row ledger.UsageRow) error {
		got += row.In.Octets + row.Out.Octets
		return nil
	})
	if err == nil && got != want {
		err = fmt.Errorf("the ledger has %d octets of %d", got, want)
	}
	return err
}

func openStore(ctx context.Context, dsn string) (*store.DB, error) {
	db, err := store.Open(ctx, dsn, clock.Real{})
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	if strings.HasPrefix(dsn, "sqlite:") {
		return db, nil
	}
	return db, db.View(ctx, func(tx *store.Tx) error { // the sums are checked: nothing else may be there
		var rows int
		if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM usage_hour`).Scan(&rows); err != nil || rows == 0 {
			return err
		}
		return fmt.Errorf("the database has %d rows of usage: name an empty one", rows)
	})
}
