package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"hostmeter/internal/simulate"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// playPast plays the simulated weeks day by day: the datagrams of a day enter just below the socket
// with their simulated receive time, then the ledger and the detector read the day from the log.
func (d *demo) playPast(ctx context.Context) error {
	began := time.Now()
	booking, err := d.openReader(ctx, "ledger")
	if err != nil {
		return err
	}
	defer booking.Close()
	detection, err := d.openReader(ctx, "detector")
	if err != nil {
		return err
	}
	defer detection.Close()
	if err := d.app.detector.Open(ctx); err != nil {
		return err
	}
	days := int(d.end.Sub(d.begin) / (24 * time.Hour))
	day := 0
	datagrams := 0
	endOfDay := d.begin.Add(24 * time.Hour)
	finish := func(at time.Time) error {
		day++
		if err := d.finishDay(ctx, at, booking, detection); err != nil {
			return err
		}
		fmt.Fprintf(d.progress, "\rplaying %d past weeks: day %d of %d, %d datagrams, %.0f s ", days/7, min(day, days), days, datagrams, time.Since(began).Seconds())
		return nil
	}
	for event := range d.provider.Play {
		for !event.At.Before(endOfDay) {
			if err := finish(endOfDay); err != nil {
				return err
			}
			endOfDay = endOfDay.Add(24 * time.Hour)
		}
		if event.Datagram != nil {
			datagrams++
		}
		if err := d.feed(ctx, event); err != nil {
			return err
		}
	}
	if err := finish(d.end); err != nil {
		return err
	}
	fmt.Fprintln(d.progress)
	return nil
}

// feed hands one event to the collector.
func (d *demo) feed(ctx context.Context, e simulate.Event) error {
	d.manual.Set(e.At)
	switch {
	case e.Datagram != nil:
		d.app.collector.Feed(e.Datagram.From, e.At, e.Datagram.Payload)
	case e.Guests != nil:
		d.app.collector.FeedGuests(e.Guests.Host, e.At, e.Guests.Readings)
	case e.Tick && e.At.Minute() == 0: // nobody waits for the past: an hour at once
		return d.app.collector.Flush(ctx, e.At, true)
	}
	return nil
}

// finishDay books and looks at what the day brought to the log, then does what the aggregator does
// every minute: seal, tell, close; and what notices do every ten.
func (d *demo) finishDay(ctx context.Context, at time.Time, booking, detection *dayReader) error {
	d.manual.Set(at)
	if err := d.app.collector.Flush(ctx, at, true); err != nil {
		return err
	}
	end := d.app.tail.End()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return readUntil(ctx, booking, end, d.app.aggregator.Process)
	})
	group.Go(func() error {
		return readUntil(ctx, detection, end, d.app.detector.Process)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if err := d.app.detector.Checkpoint(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if err := d.app.aggregator.Maintain(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	return d.app.desk.notices.Look(context.WithoutCancel(ctx))
}

// dayReader is a reader that knows how far it has read.
type dayReader struct {
	stream.Reader
	seen stream.Watermarks
}

func (d *demo) openReader(ctx context.Context, consumer string) (*dayReader, error) {
	reader, err := d.app.source.OpenReader(ctx, consumer, nil)
	return &dayReader{Reader: reader, seen: stream.Watermarks{}}, err
}

// readUntil hands batches to f until everything up to end has been handed on.
func readUntil(ctx context.Context, r *dayReader, end stream.Watermarks, f func(context.Context, []*schemas.Batch) error) error {
	for !r.seen.Reach(end) {
		batches, err := r.Next(ctx, 256)
		if err != nil {
			return err
		}
		if err := f(ctx, batches); err != nil {
			return err
		}
		for _, b := range batches {
			r.seen[stream.KeyOf(b)] = b.GetIndex()
		}
	}
	return nil
}

// writeReports writes what finance, billing and the NOC would ask for, for every month that has ended.
func (d *demo) writeReports(ctx context.Context) error {
	desk := d.app.desk
	month := d.end.AddDate(0, 0, -d.end.Day()).Format("2006-01")
	report := func(format string) func(io.Writer) error {
		return func(w io.Writer) error { return desk.ExportReport(ctx, ExportOptions{Month: month, Format: format}, w) }
	}
	files := []struct {
		name  string
		write func(io.Writer) error
	}{
		{"report-" + month + ".csv", report("csv")},
		{"report-" + month + ".json", report("json")},
		{"report-" + month + ".xlsx", report("xlsx")},
		{"statements-" + month + ".zip", report("pdf")},
		{"usage-records.jsonl", func(w io.Writer) error { return desk.writeUsageRecords(ctx, w) }},
		{"incidents.json", func(w io.Writer) error { return desk.ListIncidents(ctx, "", 1000, true, w) }},
	}
	for _, f := range files {
		if err := writeTo(filepath.Join(d.options.Out, f.name), f.write); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		d.say("wrote %s", filepath.Join(d.options.Out, f.name))
	}
	return nil
}

func writeTo(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}
