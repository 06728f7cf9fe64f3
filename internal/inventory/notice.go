package inventory

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/audit"
	"hostmeter/internal/store"
)

// AddressNotice says that a customer was told on a day that addresses are not used enough. It is never changed, but for
// a name that an erasure takes out of its reason.
type AddressNotice struct {
	Service string
	Prefix  netip.Prefix // one of those that are meant; the others were assigned together with it
	On      rating.Date
	By      string
	Reason  string
	// RecordedAt is when we were told; it is set by the store.
	RecordedAt time.Time
}

// AddressNotices returns all notices, in the order in which they were recorded, inside a transaction of the caller.
func AddressNotices(ctx context.Context, tx *store.Tx) ([]AddressNotice, error) {
	list, err := store.List(ctx, tx, readNotice, `SELECT service, prefix, given_on, given_by, reason, recorded_at FROM address_notice ORDER BY id`)
	if err != nil {
		err = fmt.Errorf("read notices about addresses: %w", err)
	}
	return list, err
}

func readNotice(row store.Row) (n AddressNotice, err error) {
	var prefix, on string
	var recorded int64
	if err := row.Scan(&n.Service, &prefix, &on, &n.By, &n.Reason, &recorded); err != nil {
		return n, err
	}
	n.RecordedAt = timeOf(recorded)
	if n.Prefix, err = netip.ParsePrefix(prefix); err == nil {
		n.On, err = rating.ParseDate(on)
	}
	return n, err
}

// AddAddressNotice records a notice in a transaction of the caller, who has looked whether one is due.
func AddAddressNotice(ctx context.Context, tx *store.Tx, n AddressNotice) error {
	_, err := tx.Exec(ctx, `INSERT INTO address_notice (service, prefix, given_on, given_by, reason, recorded_at) VALUES (?, ?, ?, ?, ?, ?)`,
		n.Service, n.Prefix.String(), n.On.String(), n.By, n.Reason, tx.Now.UnixNano())
	if err != nil {
		return fmt.Errorf("record the notice about %s: %w", n.Prefix, err)
	}
	return audit.Add(ctx, tx, audit.Event{Actor: n.By, Action: "give address notice", Subject: n.Service, Reason: n.Prefix.String() + ": " + n.Reason})
}
