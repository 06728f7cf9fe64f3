package notice

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/store"
)

// ErrChain is returned where the chain of notices is not as it was written.
var ErrChain = errors.New("chain of notices is broken")

// attemptsMax is how often a transaction is tried that loses against another process's.
const attemptsMax = 5

// update runs f in a transaction, again where it lost against another.
func (n *Notices) update(ctx context.Context, f func(tx *store.Tx) error) error {
	for i := 1; ; i++ {
		err := n.deps.DB.Update(ctx, f)
		if !(store.IsConflict(err) || store.IsDuplicate(err) || errors.Is(err, errMeanwhile)) || i == attemptsMax {
			return err
		}
	}
}

var errMeanwhile = errors.New("another process has told something meanwhile")

// toldKey names what was told of a period.
type toldKey struct {
	PeriodKey
	kind Kind
}

// told has, for each of them, what was reached.
type told map[toldKey]reached

// reached is the highest threshold that was told, and the most octets, or bit/s, that one of them stood for: 75 % of 10 TB are
// 7.5 TB. Of other kinds of notices, and of the first versions' thresholds, no quota is known.
type reached struct {
	threshold int
	size      decimal.Decimal
	unknown   bool
}

func (n Notice) toldKey() toldKey {
	return toldKey{PeriodKey{n.key(), n.PeriodFrom.UnixNano()}, n.Kind}
}

// beyond says whether a threshold of a quota is higher than what was told, or, as the quota was raised since, stands for more.
func (r reached) beyond(threshold int, quota rating.Quantity) (is, raised bool) {
	if threshold > r.threshold {
		return true, false
	}
	raised = !r.unknown && shareOf(threshold, quota).GreaterThan(r.size)
	return raised, raised
}

// with is what is reached when what a mark says is told as well.
func (r reached) with(mark string) reached {
	percent, of, _ := strings.Cut(mark, " of ")
	threshold, _ := strconv.Atoi(percent) // "" is 0
	r.threshold = max(r.threshold, threshold)
	if quota, err := rating.ParseQuantity(of); err == nil {
		r.size = decimal.Max(r.size, shareOf(threshold, quota))
	} else {
		r.unknown = true
	}
	return r
}

func shareOf(percent int, of rating.Quantity) decimal.Decimal {
	return of.Size().Mul(decimal.New(int64(percent), -2))
}

// fresh returns what was not told. Of thresholds only what is beyond all that were told is new.
func (t told) fresh(due []Notice) (list []Notice) {
	for _, notice := range due {
		before, found := t[notice.toldKey()]
		quota := rating.Quantity{Amount: notice.Quota, Unit: notice.Unit}
		if found {
			is, raised := before.beyond(notice.Threshold, quota)
			if !is {
				continue
			}
			notice.Raised = raised
		}
		notice.Passed = slices.DeleteFunc(slices.Clone(notice.Passed), func(lower int) bool {
			is, _ := before.beyond(lower, quota)
			return !is
		})
		if len(notice.Passed) == 0 {
			notice.Passed = nil
		}
		list = append(list, notice)
	}
	return list
}

// readTold reads what was told of the periods that end behind an instant.
func readTold(ctx context.Context, tx *store.Tx, after time.Time) (told, error) {
	rows, err := tx.Query(ctx, `SELECT service, period_from, kind, mark FROM notice WHERE period_to > ?`, after.UnixNano())
	if err != nil {
		return nil, fmt.Errorf("read what was told: %w", err)
	}
	defer rows.Close()
	list := told{}
	for rows.Next() {
		var key toldKey
		var mark string
		if err := rows.Scan(&key.Service, &key.From, &key.kind, &mark); err != nil {
			return nil, fmt.Errorf("read what was told: %w", err)
		}
		list[key] = list[key].with(mark)
	}
	return list, rows.Err()
}

// tell appends what was not told yet, with a mail for each. What is due is looked up again in the transaction that
// writes, so that no two processes tell the same.
func (n *Notices) tell(ctx context.Context, due []Notice) error {
	if len(due) == 0 {
		return nil
	}
	after := due[0].PeriodTo
	for _, notice := range due {
		if notice.PeriodTo.Before(after) {
			after = notice.PeriodTo
		}
	}
	after = after.Add(-1)
	var list []Notice
	if err := n.deps.DB.View(ctx, func(tx *store.Tx) error {
		before, err := readTold(ctx, tx, after)
		list = before.fresh(due)
		return err
	}); err != nil || len(list) == 0 {
		return err
	}
	err := n.update(ctx, func(tx *store.Tx) error {
		before, err := readTold(ctx, tx, after)
		if err != nil {
			return err
		}
		list = before.fresh(due)
		return n.appendAll(ctx, tx, list)
	})
	if err == nil {
		for _, notice := range list {
			n.told.WithLabelValues(string(notice.Kind)).Inc()
		}
	}
	return err
}

// appendAll chains notices behind the last one, and puts their mail into the outbox.
func (n *Notices) appendAll(ctx context.Context, tx *store.Tx, list []Notice) error {
	if len(list) == 0 {
		return nil
	}
	var first int64
	var hash string
	if err := tx.QueryRow(ctx, `SELECT number, hash FROM notice_head WHERE id = 1`).Scan(&first, &hash); err != nil {
		return fmt.Errorf("read the head of the notices: %w", err)
	}
	number, previous := first, hash
	for _, notice := range list {
		number++
		notice.Number, notice.At = number, tx.Now
		body, err := json.Marshal(notice)
		if err != nil {
			return err
		}
		next := chainHash(previous, string(body))
		_, err = tx.Exec(ctx, `INSERT INTO notice (number, kind, customer, service, period_from, period_to, mark, told_at, body, previous_hash, hash)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, number, string(notice.Kind), notice.Customer, notice.key(),
			notice.PeriodFrom.UnixNano(), notice.PeriodTo.UnixNano(), notice.mark(), tx.Now.UnixNano(), string(body), previous, next)
		if err != nil {
			return fmt.Errorf("write notice %d of %s: %w", number, notice.key(), err)
		}
		if err := n.enqueue(ctx, tx, notice); err != nil {
			return err
		}
		previous = next
	}
	moved, err := tx.Exec(ctx, `UPDATE notice_head SET number = ?, hash = ? WHERE id = 1 AND number = ? AND hash = ?`, number, previous, first, hash)
	if err == nil && moved != 1 {
		err = errMeanwhile
	}
	return err
}

// chainHash is the hash of a notice: SHA-256 over the hash before it, a line feed and the body.
func chainHash(previous, body string) string {
	sum := sha256.Sum256([]byte(previous + "\n" + body))
	return hex.EncodeToString(sum[:])
}

// Notices returns at most limit notices with greater numbers than after, ascending.
func (n *Notices) Notices(ctx context.Context, after int64, limit int) (list []Notice, err error) {
	return n.read(ctx, `number > ? ORDER BY number LIMIT ?`, after, limit)
}

// Last returns the last notices, the newest first.
func (n *Notices) Last(ctx context.Context, limit int) ([]Notice, error) {
	return n.read(ctx, `1 = 1 ORDER BY number DESC LIMIT ?`, limit)
}

func (n *Notices) read(ctx context.Context, where string, args ...any) (list []Notice, err error) {
	err = n.deps.DB.View(ctx, func(tx *store.Tx) error {
		list = nil
		return readNotices(ctx, tx, func(notice Notice, _, _ string) error {
			list = append(list, notice)
			return nil
		}, where, args...)
	})
	return list, err
}

func readNotices(ctx context.Context, tx *store.Tx, f func(notice Notice, previous, body string) error, where string, args ...any) error {
	rows, err := tx.Query(ctx, `SELECT body, previous_hash, hash FROM notice WHERE `+where, args...)
	if err != nil {
		return fmt.Errorf("read notices: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var body, previous, hash string
		if err := rows.Scan(&body, &previous, &hash); err != nil {
			return fmt.Errorf("read notices: %w", err)
		}
		var notice Notice
		if err := json.Unmarshal([]byte(body), &notice); err != nil {
			return fmt.Errorf("read notices: %w", err)
		}
		notice.Hash = hash
		if notice.Subject == "" {
			notice.Subject = SubjectService
		}
		if zone, err := time.LoadLocation(notice.TimeZone); err == nil {
			notice.PeriodFrom, notice.PeriodTo = notice.PeriodFrom.In(zone), notice.PeriodTo.In(zone)
		}
		if err := f(notice, previous, body); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Verify reads the whole chain and returns how many notices are in it. Errors: ErrChain.
func (n *Notices) Verify(ctx context.Context) (count int64, err error) {
	err = n.deps.DB.View(ctx, func(tx *store.Tx) error {
		previous := ""
		count = 0
		err := readNotices(ctx, tx, func(notice Notice, before, body string) error {
			count++
			if notice.Number != count || before != previous || notice.Hash != chainHash(previous, body) {
				return fmt.Errorf("notice number %d: %w", notice.Number, ErrChain)
			}
			previous = notice.Hash
			return nil
		}, `1 = 1 ORDER BY number`)
		if err != nil {
			return err
		}
		var number int64
		var hash string
		err = tx.QueryRow(ctx, `SELECT number, hash FROM notice_head WHERE id = 1`).Scan(&number, &hash)
		if err == nil && (number != count || hash != previous) {
			err = fmt.Errorf("%d notices, of which the last should be number %d: %w", count, number, ErrChain)
		}
		return err
	})
	return count, err
}
