package detector

import (
	"context"
	"database/sql"
	"fmt"

	"hostmeter/detector/incident"
	"hostmeter/detector/rule"
	"hostmeter/internal/failpoint"
	"hostmeter/internal/store"
	"hostmeter/internal/stream"
)

// load takes over from any other detector and reads state and position.
func (d *Detector) load(ctx context.Context) error {
	return d.deps.DB.Update(ctx, func(tx *store.Tx) error {
		if err := d.lease.Take(ctx, tx); err != nil {
			return err
		}
		var exporters []byte
		if err := tx.QueryRow(ctx, `SELECT exporters FROM detector_lease WHERE id = 1`).Scan(&exporters); err != nil {
			return err
		}
		if err := d.progress.decode(exporters); err != nil {
			return fmt.Errorf("progress of the exporters: %w", err)
		}
		if err := d.loadWatermarks(ctx, tx); err != nil {
			return err
		}
		if err := d.loadSubjects(ctx, tx); err != nil {
			return err
		}
		return d.resolveOrphans(ctx, tx)
	})
}

func (d *Detector) loadWatermarks(ctx context.Context, tx *store.Tx) error {
	rows, err := tx.Query(ctx, `SELECT collector, log_id, shard, batch FROM detector_watermark ORDER BY collector, log_id, shard`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key stream.Key
		var logID, shard, batch int64
		if err := rows.Scan(&key.Collector, &logID, &shard, &batch); err != nil {
			return err
		}
		key.LogID, key.Shard = uint64(logID), uint32(shard)
		d.position[key] = uint64(batch)
		d.saved[key] = uint64(batch)
	}
	return rows.Err()
}

func (d *Detector) loadSubjects(ctx context.Context, tx *store.Tx) error {
	rows, err := tx.Query(ctx, `SELECT subject, closed, open FROM detector_state ORDER BY subject`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var closed, open []byte
		if err := rows.Scan(&id, &closed, &open); err != nil {
			return err
		}
		s, err := d.decode(id, closed, open)
		if err != nil {
			return fmt.Errorf("state of %s: %w", id, err)
		}
		if s == nil {
			d.removed = append(d.removed, id)
			continue
		}
		d.bySubject[id] = s
		d.addToShard(s)
		d.noteOpen(s)
	}
	return rows.Err()
}

func (d *Detector) noteOpen(s *subject) {
	for i := range s.lanes {
		for k, c := range s.lanes[i].conditions {
			if c.Machine.Open {
				d.openSites[incident.NewID(s.lanes[i].lane.rules[k].Name, s.id, c.Machine.Began)] = site{s, i, k}
			}
		}
	}
}

// resolveOrphans closes incidents whose rule was changed or taken away: nobody watches them any more.
func (d *Detector) resolveOrphans(ctx context.Context, tx *store.Tx) error {
	open, err := openIDs(ctx, tx)
	if err != nil {
		return err
	}
	for id := range open {
		if _, watched := d.openSites[id]; watched {
			continue
		}
		if _, err := d.incidents.ResolveTx(ctx, tx, id, incident.Detector, "its rule was changed or taken away"); err != nil {
			return err
		}
	}
	return nil
}

func openIDs(ctx context.Context, tx *store.Tx) (map[string]bool, error) {
	rows, err := tx.Query(ctx, `SELECT id FROM incident WHERE resolved_at IS NULL AND rule <> ? ORDER BY id`, rule.ResellerRate)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out[id] = true
	}
	return out, rows.Err()
}

// save writes everything that changed, in a transaction of the lease's holder.
func (d *Detector) save(ctx context.Context, tx *store.Tx) (open map[string]bool, err error) {
	exporters, err := d.progress.encode()
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, `UPDATE detector_lease SET exporters = ? WHERE id = 1`, exporters); err != nil {
		return nil, err
	}
	if err := d.saveSubjects(ctx, tx); err != nil {
		return nil, err
	}
	for key, batch := range d.position {
		if d.saved[key] == batch {
			continue
		}
		_, err := tx.Exec(ctx, `INSERT INTO detector_watermark (collector, log_id, shard, batch) VALUES (?, ?, ?, ?)
			ON CONFLICT (collector, log_id, shard) DO UPDATE SET batch = excluded.batch`,
			key.Collector, int64(key.LogID), int64(key.Shard), int64(batch))
		if err != nil {
			return nil, err
		}
	}
	if !failpoint.Fault(failpoint.ForgetIncidents) {
		if err := d.apply(ctx, tx); err != nil {
			return nil, err
		}
	}
	return openIDs(ctx, tx)
}

func (d *Detector) saveSubjects(ctx context.Context, tx *store.Tx) error {
	for _, id := range d.removed {
		if _, err := tx.Exec(ctx, `DELETE FROM detector_state WHERE subject = ?`, id); err != nil {
			return err
		}
	}
	insert, err := tx.Prepare(ctx, `INSERT INTO detector_state (subject, closed, open) VALUES (?, ?, ?)
		ON CONFLICT (subject) DO UPDATE SET closed = excluded.closed, open = excluded.open`)
	if err != nil {
		return err
	}
	defer insert.Close()
	update, err := tx.Prepare(ctx, `UPDATE detector_state SET open = ? WHERE subject = ?`)
	if err != nil {
		return err
	}
	defer update.Close()
	for _, s := range d.bySubject {
		if !s.dirty {
			continue
		}
		if err := d.saveSubject(ctx, s, insert, update); err != nil {
			return fmt.Errorf("write state of %s: %w", s.id, err)
		}
	}
	return nil
}

func (d *Detector) saveSubject(ctx context.Context, s *subject, insert, update *sql.Stmt) error {
	open, err := d.encodeOpen(s)
	if err != nil {
		return err
	}
	if !s.closed {
		_, err := update.ExecContext(ctx, open, s.id)
		return err
	}
	closed, err := d.encodeClosed(s)
	if err != nil {
		return err
	}
	_, err = insert.ExecContext(ctx, s.id, closed, open)
	return err
}
