package auth

import (
	"net/netip"
	"strconv"
	"testing"
	"time"
)

// TestLimiterForgets floods the limiter with names and looks at its memory.
func TestLimiterForgets(t *testing.T) {
	l := newLimiter()
	now := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	for i := range 200_000 {
		l.take("name"+strconv.Itoa(i), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
		now = now.Add(time.Millisecond)
	}
	if n := len(l.buckets); n > bucketsMax+3 {
		t.Fatalf("%d buckets, want at most %d", n, bucketsMax)
	}
}

func TestBadHashesMatchNothing(t *testing.T) {
	k := New(nil, nil, DefaultConfig())
	for _, hash := range []string{"", "x", "$argon2id$", "$argon2i$v=19$m=19456,t=2,p=1$AAAA$AAAA", "$argon2id$v=18$m=19456,t=2,p=1$AAAA$AAAA",
		"$argon2id$v=19$m=19456,t=0,p=1$AAAA$AAAA", "$argon2id$v=19$m=99999999,t=2,p=1$AAAA$AAAA", "$argon2id$v=19$m=19456,t=2,p=0$AAAA$AAAA",
		"$argon2id$v=19$m=19456,t=2,p=1$!$AAAA", "$argon2id$v=19$m=19456,t=2,p=1$AAAA$", nobody} {
		if k.checkHash("", hash) || k.checkHash("password", hash) {
			t.Errorf("%q matched", hash)
		}
	}
	if hash := k.hashPassword("password"); !k.checkHash("password", hash) || k.checkHash("Password", hash) {
		t.Error("a password does not match its own hash, or another does")
	}
}

func FuzzCheckHash(f *testing.F) {
	k := New(nil, nil, DefaultConfig())
	f.Add(nobody)
	f.Add("$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA")
	f.Fuzz(func(t *testing.T, hash string) {
		if len(hash) < 120 && k.checkHash("no password has this hash", hash) {
			t.Fatalf("%q matched", hash)
		}
	})
}
