package udp

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// batchesMost is how many batches are received and not yet handled at a time, where there are several lanes.
const batchesMost = 8

// lanesMost is how many lanes there can be.
const lanesMost = 64

// receiver hands what one socket receives to the lanes.
type receiver struct {
	socket  *Socket
	laneOf  func(netip.Addr) int
	handler Handler
	base    uint32 // the kernel's count of drops when the serving began

	batches []*batch
	spare   chan *batch   // those that wait to be filled
	queues  []chan *batch // by lane; none where one lane does all
	done    sync.WaitGroup
	queued  atomic.Int32 // batches that lanes are not done with
}

func (r *receiver) open(lanes int) error {
	count := 1
	if lanes > 1 {
		count = batchesMost
	}
	r.spare = make(chan *batch, count)
	for range count {
		b, err := newBatch()
		if err != nil {
			r.close()
			return err
		}
		r.batches = append(r.batches, b)
		r.spare <- b
	}
	for lane := range lanes {
		if lanes == 1 {
			break
		}
		queue := make(chan *batch, count)
		r.queues = append(r.queues, queue)
		r.done.Go(func() {
			for b := range queue {
				r.do(lane, b)
			}
		})
	}
	return nil
}

// close waits for the lanes. All batches are back then.
func (r *receiver) close() {
	for _, queue := range r.queues {
		close(queue)
	}
	r.done.Wait()
	for _, b := range r.batches {
		b.free()
	}
}

// hand sees to it that a batch is handled, and comes back to the spare ones. Where the batches before are
// all done and this one is not whole, that is done here: to wake other goroutines costs more.
func (r *receiver) hand(b *batch) {
	r.describe(b)
	if len(r.queues) == 0 || b.n == 0 || b.n < batchSize && r.queued.Load() == 0 {
		r.handle(b, allLanes)
		r.spare <- b
		return
	}
	var taking [lanesMost]bool
	takers := int32(0)
	for i := range b.n {
		if lane := b.lanes[i]; !taking[lane] {
			taking[lane] = true
			takers++
		}
	}
	b.waiting.Store(takers)
	r.queued.Add(1)
	for lane, queue := range r.queues {
		if taking[lane] {
			queue <- b
		}
	}
}

// do handles a lane's part of a batch.
func (r *receiver) do(lane int, b *batch) {
	r.handle(b, int32(lane))
	if b.waiting.Add(-1) == 0 {
		r.queued.Add(-1)
		r.spare <- b
	}
}

// allLanes is for handle.
const allLanes = -1

// handle gives the handler the datagrams of a lane, each after it was told to expect the one behind it.
func (r *receiver) handle(b *batch, of int32) {
	before := -1
	take := func() {
		if before >= 0 {
			r.handler.Take(int(b.lanes[before]), &b.datagrams[before])
		}
	}
	for i := range b.n {
		if d := &b.datagrams[i]; d.Payload != nil && (of == allLanes || b.lanes[i] == of) {
			r.handler.Expect(int(b.lanes[i]), d)
			take()
			before = i
		}
	}
	take()
}

// describe fills in what was received. A datagram that was cut short has no payload.
func (r *receiver) describe(b *batch) {
	s := r.socket
	offset := s.clockOffset()
	seen := s.seenDrops()
	for i := range b.n {
		m, d := &b.messages[i], &b.datagrams[i]
		d.From, d.Payload = addrPortOf(&b.names[i]), nil
		b.lanes[i] = int32(r.laneOf(d.From.Addr()))
		if m.header.Flags&unix.MSG_TRUNC != 0 {
			if s.deps.Truncated != nil {
				s.deps.Truncated(d.From)
			}
			continue
		}
		at, kernel, told := parseControl(b.controls[i][:min(int(m.header.Controllen), controlSize)])
		if told && kernel != seen { // before this datagram
			s.addDrops(kernel)
			seen = kernel
		}
		d.Drops = seen - r.base
		if at != 0 {
			d.ReceivedAt = time.Unix(0, at).Add(offset).UTC()
		} else {
			d.ReceivedAt = s.deps.Clock.Now().UTC()
		}
		d.Payload = b.payload(i, int(m.length))
	}
}
