package faults_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/store"
)

// rules opens an incident for each address that is heard of, once: every datagram tells of an address of its own.
const rules = `rules:
  - {name: heard, metric: out_packets_per_second, above: 0.001, for: 10s, at_least: 0.1, coverage: 0.1, each: address}
`

// detected says how the incidents differ from those that have to be there.
func (w *world) detected() error {
	b, err := w.readBooks()
	if err != nil {
		return err
	}
	return w.checkIncidents(b)
}

// checkIncidents compares the incidents with those of an undisturbed run, which follow from what is booked: one for
// each address in the ledger, opened once, and none of any other.
func (w *world) checkIncidents(b *books) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := store.Open(ctx, w.ledger, clock.Real{})
	if err != nil {
		return err
	}
	defer db.Close()
	opened := map[string]int{}
	err = db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `SELECT i.meter FROM incident i JOIN incident_event e ON e.incident = i.id AND e.action = 'opened' ORDER BY i.meter`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var meter string
			if err := rows.Scan(&meter); err != nil {
				return err
			}
			opened[meter]++
		}
		return rows.Err()
	})
	if err != nil {
		return err
	}
	if len(b.usage) == 0 {
		return errors.New("nothing is booked, and no incident can be looked for")
	}
	missed, twice := 0, 0
	for address := range b.usage {
		switch n := opened["address:"+address]; {
		case n == 0:
			missed++
		case n > 1:
			twice++
		}
		delete(opened, "address:"+address)
	}
	if missed+twice+len(opened) > 0 {
		return fmt.Errorf("of %d addresses in the ledger %d have no incident and %d more than one; %d others have one", len(b.usage), missed, twice, len(opened))
	}
	return nil
}
