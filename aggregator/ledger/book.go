package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"hostmeter/internal/failpoint"
	"hostmeter/internal/store"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Book books batches in one transaction: what they add to rows and accounts, their late entries, and
// their watermarks. Within a sequence they come in the order of their indexes.
//
// A batch at or below its watermark is passed over. One that breaks an invariant is parked whole in
// refused_batch with the reason, and counted in Booked.Refused; the ones behind it are booked. The
// batches are not changed, and nothing of them is kept but the texts of meters.
//
// Errors: ErrOvertaken, *HoleError, ErrCorrupt, store.ErrUnknownOutcome, a conflict (store.IsConflict),
// what the store said. With store.ErrUnknownOutcome it may all have been booked, with any other error
// nothing was; after each of them the same batches may be given again.
func (l *Ledger) Book(ctx context.Context, batches []*schemas.Batch) (Booked, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.memory.pages == nil {
		l.memory.forget()
	}
	if err := l.ensureParts(ctx, batches); err != nil {
		return Booked{}, err
	}
	var b *booking
	err := l.db.Update(ctx, func(tx *store.Tx) error {
		b = newBooking(l, tx)
		return b.run(ctx, batches)
	})
	if err == nil {
		failpoint.Hit(failpoint.LedgerBooked)
		err = l.step("committed")
	}
	if err != nil {
		l.memory.forget() // what is in memory is not what is in the store
		return Booked{}, fmt.Errorf("book %d batches: %w", len(batches), err)
	}
	for key, mark := range b.marks {
		l.memory.marks[key] = mark.index
	}
	for _, part := range b.dirtyParts {
		l.memory.versions[part]++
	}
	l.memory.evict(l.cfg.RowsInMemory, b.frontier)
	return b.result(), nil
}

// step makes tests fail at a named place.
func (l *Ledger) step(name string) error {
	if l.inject == nil {
		return nil
	}
	return l.inject(name)
}

// ensureParts makes the parts' rows at the first booking of all, in a transaction of its own: whoever
// seals finds all of them or none.
func (l *Ledger) ensureParts(ctx context.Context, batches []*schemas.Batch) error {
	if l.memory.parts != 0 {
		return nil
	}
	shards := int64(0)
	for _, b := range batches {
		if check(b) == nil {
			shards = int64(b.GetShards())
			break
		}
	}
	err := l.retry(ctx, func(tx *store.Tx) error {
		state, err := readState(ctx, tx)
		if err != nil {
			return err
		}
		if state.parts != 0 || shards == 0 {
			l.memory.parts = uint32(state.parts)
			return nil
		}
		if err := insertState(ctx, tx, "parts", shards); err != nil {
			return err
		}
		for part := range shards {
			if _, err := tx.Exec(ctx, `INSERT INTO ledger_part (part, version) VALUES (?, 0)`, part); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("make the parts of the ledger: %w", err)
	}
	if shards != 0 && l.memory.parts == 0 {
		l.memory.parts = uint32(shards)
	}
	return nil
}

// booking is one transaction of Book.
type booking struct {
	l        *Ledger
	tx       *store.Tx
	memory   *memory
	frontier int64 // the first hour that is not sealed; math.MinInt64 where none is

	last     [len(tables)]*page // of each table, the page that was used last
	dirty    [len(tables)][]*row
	late     [len(tables)][]*lateRow
	accounts map[accountKey]*accountRow
	guests   map[string]*schemas.GuestUsage
	marks    map[stream.Key]*mark
	refused  []refusedBatch

	// Of the batch at work; they count once the batch has been found sound.
	lateOfBatch     [len(tables)]map[lateKey]*lateRow
	accountsOfBatch map[accountKey]*accountRow
	classes         []uint32

	dirtyParts []uint32
	booked     Booked
	receivedTo int64
}

// mark is the watermark of a sequence in this transaction.
type mark struct {
	known    bool   // a row is in the store
	expected uint64 // its index when the transaction began
	index    uint64 // what it becomes
	toldAt   int64
	complete []*schemas.Completeness
}

type lateKey struct {
	rowKey
	hour int64
}

type lateRow struct {
	row
	hour  int64
	part  uint32
	batch *schemas.Batch
}

type refusedBatch struct {
	batch  *schemas.Batch
	reason string
}

func newBooking(l *Ledger, tx *store.Tx) *booking {
	b := &booking{
		l: l, tx: tx, memory: &l.memory,
		accounts: make(map[accountKey]*accountRow),
		guests:   make(map[string]*schemas.GuestUsage),
		marks:    make(map[stream.Key]*mark),
	}
	l.memory.tick++
	return b
}

// run does all of a booking but the commit.
func (b *booking) run(ctx context.Context, batches []*schemas.Batch) error {
	if err := b.l.step("begin"); err != nil {
		return err
	}
	state, err := readState(ctx, b.tx)
	if err != nil {
		return err
	}
	b.frontier = state.sealedThrough
	versions, err := readVersions(ctx, b.tx)
	if err != nil {
		return err
	}
	b.memory.dropStale(versions)
	for _, batch := range batches {
		if err := b.batch(ctx, batch); err != nil {
			return err
		}
	}
	if err := b.l.step("merged"); err != nil {
		return err
	}
	return b.write(ctx)
}

// batch adds one batch to what the transaction writes, if it is its turn.
func (b *booking) batch(ctx context.Context, batch *schemas.Batch) error {
	if !hasIdentity(batch) {
		b.l.logger.Error("a batch without a name is left out", "collector", batch.GetCollector(), "index", batch.GetIndex())
		b.booked.Refused++
		return nil
	}
	key := stream.KeyOf(batch)
	m, err := b.mark(ctx, key)
	if err != nil {
		return err
	}
	switch index := batch.GetIndex(); {
	case index <= m.index:
		b.booked.Duplicates++
		return nil
	case index != m.index+1:
		return &HoleError{Key: key, Booked: m.index, Index: index}
	}
	m.index, m.toldAt = batch.GetIndex(), batch.GetReceivedTo()
	var refused *refusal
	if err := b.add(ctx, batch); errors.As(err, &refused) {
		b.l.logger.Error("a batch breaks an invariant and is parked", "batch", key.String(), "index", batch.GetIndex(), "err", err)
		b.refused = append(b.refused, refusedBatch{batch, refused.reason})
		b.booked.Refused++
		return nil
	} else if err != nil {
		return err
	}
	if len(batch.GetComplete()) > 0 {
		m.complete = batch.GetComplete()
	}
	b.receivedTo = max(b.receivedTo, batch.GetReceivedTo())
	b.booked.Batches++
	return nil
}

// mark returns the watermark of a sequence. Where this ledger has booked the sequence before it
// expects what it left; the compare-and-set tells whether that still stands.
func (b *booking) mark(ctx context.Context, key stream.Key) (*mark, error) {
	if m, ok := b.marks[key]; ok {
		return m, nil
	}
	m := &mark{}
	if index, ok := b.memory.marks[key]; ok {
		m.known, m.expected, m.index = true, index, index
	} else if err := m.read(ctx, b.tx, key); err != nil {
		return nil, err
	}
	b.marks[key] = m
	return m, nil
}

// add adds a batch that has not been booked, or nothing of it and returns a refusal.
func (b *booking) add(ctx context.Context, batch *schemas.Batch) error {
	if err := check(batch); err != nil {
		return err
	}
	b.lateOfBatch = [len(tables)]map[lateKey]*lateRow{}
	if err := b.addAccounts(ctx, batch); err != nil {
		return err
	}
	b.classes = b.classes[:0]
	for _, class := range batch.GetClasses() {
		b.classes = append(b.classes, b.memory.classID(class))
	}
	b.last = [len(tables)]*page{}
	if done, err := b.addDeltas(ctx, batch); err != nil {
		b.takeDeltas(ctx, batch, done)
		return err
	}
	b.keep(batch)
	return nil
}

// addAccounts adds a batch's accounts to copies.
func (b *booking) addAccounts(ctx context.Context, batch *schemas.Batch) error {
	b.accountsOfBatch = make(map[accountKey]*accountRow, len(batch.GetAccounts()))
	for _, a := range batch.GetAccounts() {
		key := accountKey{a.GetExporter(), a.GetHour(), a.GetProtocol()}
		r := b.accountsOfBatch[key]
		if r == nil && b.accounts[key] != nil {
			r = b.accounts[key].clone()
		}
		if r == nil {
			var err error
			if r, err = readAccount(ctx, b.tx, key); err != nil {
				return err
			}
		}
		b.accountsOfBatch[key] = r
		if err := r.add(a); err != nil {
			return err
		}
	}
	return nil
}

// keep takes over what the batch made: nothing can refuse it any more.
func (b *booking) keep(batch *schemas.Batch) {
	for key, r := range b.accountsOfBatch {
		b.accounts[key] = r
	}
	for id := range b.lateOfBatch {
		late := b.lateOfBatch[id]
		rows := make([]*lateRow, 0, len(late))
		for _, r := range late {
			if r.isZero() {
				continue // as a row that is 0
			}
			r.batch = batch
			rows = append(rows, r)
		}
		slices.SortFunc(rows, func(x, y *lateRow) int {
			return cmp.Or(cmp.Compare(x.hour, y.hour), b.compareKeys(x.key, y.key))
		})
		b.late[id] = append(b.late[id], rows...)
		b.booked.LateEntries += len(rows)
	}
	for _, g := range batch.GetGuests() {
		if seen := b.guests[g.GetGuest()]; seen == nil || seen.GetTo() <= g.GetTo() {
			b.guests[g.GetGuest()] = g
		}
	}
	for _, t := range batch.GetTallies() {
		b.booked.Octets += schemas.Octets(t.GetIn().GetOctets() + t.GetOut().GetOctets())
	}
	b.booked.Tallies += len(batch.GetTallies())
}

func (b *booking) compareKeys(x, y rowKey) int {
	return cmp.Or(cmp.Compare(x.meter, y.meter), cmp.Compare(b.className(x), b.className(y)))
}

func (b *booking) className(key rowKey) string {
	if int(key.class) >= len(b.memory.classes) {
		return "" // a guest, and no class has been seen yet
	}
	return b.memory.classes[key.class]
}

func (b *booking) result() Booked {
	b.booked.Watermarks = make(stream.Watermarks, len(b.marks))
	for key, m := range b.marks {
		b.booked.Watermarks[key] = m.index
	}
	if b.receivedTo > 0 {
		b.booked.ReceivedTo = time.Unix(0, b.receivedTo).UTC()
	}
	return b.booked
}

// write writes everything that the batches changed. Rows are written whole, each once, and always in
// the same order, so that two writers do not lock each other out.
func (b *booking) write(ctx context.Context) error {
	for _, writing := range []struct {
		step string
		f    func(context.Context) error
	}{
		{"watermarks", b.writeMarks},
		{"parts", b.writeParts},
		{"rows", b.writeRows},
		{"late entries", b.writeLate},
		{"accounts", b.writeAccounts},
		{"observations", b.writeObservations},
		{"guests", b.writeGuests},
		{"refused batches", b.writeRefused},
	} {
		if err := writing.f(ctx); err != nil {
			return fmt.Errorf("write %s: %w", writing.step, err)
		}
		if err := b.l.step(writing.step); err != nil {
			return err
		}
	}
	return nil
}

// writeParts moves the versions of the parts whose rows are written.
func (b *booking) writeParts(ctx context.Context) error {
	b.dirtyParts = b.dirtyParts[:0]
	for _, rows := range b.dirty {
		for _, r := range rows {
			if !slices.Contains(b.dirtyParts, r.page.key.part) {
				b.dirtyParts = append(b.dirtyParts, r.page.key.part)
			}
		}
	}
	slices.Sort(b.dirtyParts)
	for _, part := range b.dirtyParts {
		n, err := b.tx.Exec(ctx, `UPDATE ledger_part SET version = version + 1 WHERE part = ? AND version = ?`,
			int64(part), b.memory.versions[part])
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("part %d: %w", part, ErrOvertaken)
		}
	}
	return nil
}

// writeRefused parks batches.
func (b *booking) writeRefused(ctx context.Context) error {
	for _, r := range b.refused {
		data, err := proto.Marshal(r.batch)
		if err != nil {
			return err
		}
		key := stream.KeyOf(r.batch)
		_, err = b.tx.Exec(ctx, `INSERT INTO refused_batch (collector, log_id, shard, idx, refused_at, reason, batch) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			key.Collector, hexID(key.LogID), int64(key.Shard), int64(r.batch.GetIndex()), b.tx.Now.UnixNano(), printable(r.reason), data)
		if err != nil {
			return err
		}
	}
	return nil
}

// state is what ledger_state holds. sealedThrough and daysThrough are math.MinInt64 where nothing is
// sealed, slotsPruned and hoursPruned where nothing has gone.
type state struct {
	parts, sealedThrough, daysThrough, booking, guestBooking      int64
	observation                                                   int64
	slotsPruned, hoursPruned, prunedBookings, prunedGuestBookings int64
}

func readState(ctx context.Context, tx *store.Tx) (state, error) {
	s := state{sealedThrough: math.MinInt64, daysThrough: math.MinInt64, slotsPruned: math.MinInt64, hoursPruned: math.MinInt64}
	fields := map[string]*int64{
		"parts": &s.parts, "sealed_through": &s.sealedThrough, "days_through": &s.daysThrough,
		"booking": &s.booking, "guest_booking": &s.guestBooking, "observation": &s.observation,
		"slots_pruned": &s.slotsPruned, "hours_pruned": &s.hoursPruned,
		"pruned_bookings": &s.prunedBookings, "pruned_guest_bookings": &s.prunedGuestBookings,
	}
	rows, err := tx.Query(ctx, `SELECT name, value FROM ledger_state`)
	if err != nil {
		return s, fmt.Errorf("read the ledger's state: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var value int64
		if err := rows.Scan(&name, &value); err != nil {
			return s, err
		}
		if field := fields[name]; field != nil {
			*field = value
		}
	}
	return s, rows.Err()
}

func insertState(ctx context.Context, tx *store.Tx, name string, value int64) error {
	_, err := tx.Exec(ctx, `INSERT INTO ledger_state (name, value) VALUES (?, ?)`, name, value)
	return err
}

// setState writes a number, whether it is there or not.
func setState(ctx context.Context, tx *store.Tx, name string, value int64) error {
	_, err := tx.Exec(ctx, `INSERT INTO ledger_state (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}

func readVersions(ctx context.Context, tx *store.Tx) (map[uint32]int64, error) {
	rows, err := tx.Query(ctx, `SELECT part, version FROM ledger_part`)
	if err != nil {
		return nil, fmt.Errorf("read the versions of the parts: %w", err)
	}
	defer rows.Close()
	versions := make(map[uint32]int64)
	for rows.Next() {
		var part, version int64
		if err := rows.Scan(&part, &version); err != nil {
			return nil, err
		}
		versions[uint32(part)] = version
	}
	return versions, rows.Err()
}
