package auth

import (
	"net/netip"
	"sync"
	"time"
)

// limiter refuses logins after too many failures, by three counts at once: one address guessing one
// name, one address guessing many names, many addresses guessing one name. The last is wide, so that
// an outsider cannot easily keep a person out.
//
// It is in memory: a restart forgives. Addresses of IPv6 count by /64.
type limiter struct {
	mu      sync.Mutex
	buckets map[string]bucket
}

// bucket holds attempts that are left, as of at.
type bucket struct {
	left float64
	at   time.Time
	rule int
}

// rules: attempts at once, and how long until one is given back.
var rules = [...]struct {
	burst  float64
	refill time.Duration
}{
	{5, time.Minute},        // (name, address)
	{20, 30 * time.Second},  // address
	{100, 30 * time.Second}, // name
}

// bucketsMax bounds the memory; full buckets are forgotten first.
const bucketsMax = 50_000

func newLimiter() *limiter { return &limiter{buckets: make(map[string]bucket)} }

func keys(name string, client netip.Addr) [3]string {
	if len(name) > 64 {
		name = name[:64]
	}
	client = client.Unmap()
	host := client.String()
	if client.Is6() {
		if prefix, err := client.WithZone("").Prefix(64); err == nil {
			host = prefix.String()
		}
	}
	return [3]string{"b\x00" + name + "\x00" + host, "a\x00" + host, "n\x00" + name}
}

// take spends one attempt of each count, or says how long to wait and spends none.
func (l *limiter) take(name string, client netip.Addr, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buckets) > bucketsMax {
		l.forget(now)
	}
	var next [3]bucket
	all := keys(name, client)
	for i, key := range all {
		b := l.current(key, i, now)
		if b.left < 1 {
			wait = max(wait, time.Duration((1-b.left)*float64(rules[i].refill)))
		}
		b.left--
		next[i] = b
	}
	if wait > 0 {
		return wait
	}
	for i, key := range all {
		l.buckets[key] = next[i]
	}
	return 0
}

func (l *limiter) current(key string, rule int, now time.Time) bucket {
	b, ok := l.buckets[key]
	if !ok {
		return bucket{left: rules[rule].burst, at: now, rule: rule}
	}
	if gone := now.Sub(b.at); gone > 0 {
		b.left = min(rules[rule].burst, b.left+float64(gone)/float64(rules[rule].refill))
		b.at = now
	}
	return b
}

// forgive gives back what a login that succeeded took.
func (l *limiter) forgive(name string, client netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := keys(name, client)
	delete(l.buckets, all[0])
	for i, key := range all[1:] {
		if b, ok := l.buckets[key]; ok {
			b.left = min(rules[i+1].burst, b.left+1)
			l.buckets[key] = b
		}
	}
}

// forget drops the buckets that are full again; if all are in use, all of them: a flood must not
// take the memory.
func (l *limiter) forget(now time.Time) {
	for key, b := range l.buckets {
		if l.current(key, b.rule, now).left >= rules[b.rule].burst {
			delete(l.buckets, key)
		}
	}
	if len(l.buckets) > bucketsMax {
		clear(l.buckets)
	}
}
