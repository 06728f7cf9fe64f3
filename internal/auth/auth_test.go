package auth_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hostmeter/internal/audit"
	"hostmeter/internal/auth"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

const password = "correct horse battery staple"

var (
	start  = time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)
	client = netip.MustParseAddr("198.51.100.7")
	ctx    = context.Background()
)

// each runs f on every kind of store, with a user ada.
func each(t *testing.T, f func(t *testing.T, k *auth.Keeper, c *clock.Manual, db *store.DB)) {
	t.Helper()
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		k := auth.New(db, c, auth.DefaultConfig())
		if err := k.AddUser(ctx, "local:root", "ada", auth.NOC, password); err != nil {
			t.Fatal(err)
		}
		f(t, k, c, db)
	})
}

func TestUsers(t *testing.T) {
	each(t, func(t *testing.T, k *auth.Keeper, c *clock.Manual, _ *store.DB) {
		if err := k.AddUser(ctx, "local:root", "ada", auth.Admin, password); !errors.Is(err, auth.ErrExists) {
			t.Errorf("second ada: %v", err)
		}
		refused := func(name string, role auth.Role, password, why string) {
			t.Helper()
			err := k.AddUser(ctx, "local:root", name, role, password)
			if err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("AddUser(%q, %q): %v, want one about %q", name, role, err, why)
			}
			if err != nil && len(password) > 8 && strings.Contains(err.Error(), password) {
				t.Errorf("the error shows the password: %v", err)
			}
		}
		refused("Bob", auth.NOC, password, "lower-case")
		refused("", auth.NOC, password, "name")
		refused("bob smith", auth.NOC, password, "name")
		refused(strings.Repeat("b", 65), auth.NOC, password, "name")
		refused("bob", "root", password, "role")
		refused("bob", auth.NOC, "fourteen chars", "15 characters")
		refused("bob", auth.NOC, strings.Repeat("x", 1025), "1024")
		refused("bob.bob.bob.bob", auth.NOC, "bob.bob.bob.bob", "it is the name")

		secret, err := k.Login(ctx, "ada", password, client)
		if err != nil {
			t.Fatal(err)
		}
		if who, err := k.Session(ctx, secret); err != nil || who != (auth.Identity{Name: "ada", Role: auth.NOC, Kind: "user"}) || who.Actor() != "user:ada" {
			t.Errorf("session is of %+v, %v", who, err)
		}
		c.Advance(time.Minute)
		if err := k.SetPassword(ctx, "local:root", "ada", "another horse battery"); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Session(ctx, secret); !errors.Is(err, auth.ErrSession) {
			t.Errorf("a new password left the session: %v", err)
		}
		if _, err := k.Login(ctx, "ada", password, client); !errors.Is(err, auth.ErrCredentials) {
			t.Errorf("the old password: %v", err)
		}
		if secret, err = k.Login(ctx, "ada", "another horse battery", client); err != nil {
			t.Errorf("the new password: %v", err)
		}
		users, err := k.Users(ctx)
		if err != nil || len(users) != 1 || users[0].Name != "ada" || !users[0].ChangedAt.After(users[0].CreatedAt) {
			t.Errorf("users: %+v, %v", users, err)
		}
		if err := k.RemoveUser(ctx, "local:root", "ada"); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Session(ctx, secret); !errors.Is(err, auth.ErrSession) {
			t.Errorf("a removed user still has a session: %v", err)
		}
		if err := k.RemoveUser(ctx, "local:root", "ada"); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("removing twice: %v", err)
		}
		if err := k.SetPassword(ctx, "local:root", "ada", password); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("password of nobody: %v", err)
		}
	})
}

func TestSessionEnds(t *testing.T) {
	each(t, func(t *testing.T, k *auth.Keeper, c *clock.Manual, _ *store.DB) {
		login := func() string {
			t.Helper()
			secret, err := k.Login(ctx, "ada", password, client)
			if err != nil {
				t.Fatal(err)
			}
			return secret
		}
		is := func(secret string, want error, when string) {
			t.Helper()
			if _, err := k.Session(ctx, secret); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", when, err, want)
			}
		}
		secret := login()
		c.Advance(30*time.Minute - time.Nanosecond)
		is(secret, nil, "just before its idle time")
		c.Advance(30 * time.Minute)
		is(secret, auth.ErrSession, "at its idle time")

		secret = login()
		for range 36 {
			c.Advance(20*time.Minute - time.Second)
			is(secret, nil, "in use")
		}
		c.Advance(36 * time.Second)
		is(secret, auth.ErrSession, "at its absolute time")

		secret = login()
		c.Advance(59 * time.Second)
		is(secret, nil, "used within the minute that is not written down")
		c.Advance(30*time.Minute - 59*time.Second)
		is(secret, auth.ErrSession, "idle, as far as is written down")

		secret = login()
		c.Advance(29 * time.Minute)
		if _, err := k.PeekSession(ctx, secret); err != nil {
			t.Errorf("peek: %v", err)
		}
		c.Advance(time.Minute)
		is(secret, auth.ErrSession, "a peek is no use")

		secret = login()
		if err := k.Logout(ctx, secret); err != nil {
			t.Fatal(err)
		}
		is(secret, auth.ErrSession, "after the logout")
		is("", auth.ErrSession, "no secret")
	})
}

func TestTokens(t *testing.T) {
	each(t, func(t *testing.T, k *auth.Keeper, c *clock.Manual, _ *store.DB) {
		began := c.Now()
		secret, err := k.CreateToken(ctx, "local:root", "whmcs", auth.Finance)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.CreateToken(ctx, "local:root", "whmcs", auth.Admin); !errors.Is(err, auth.ErrExists) {
			t.Errorf("second token of that name: %v", err)
		}
		if _, err := k.CreateToken(ctx, "local:root", "x y", auth.Admin); err == nil {
			t.Error("a name with a space")
		}
		if _, err := k.CreateToken(ctx, "local:root", "x", "root"); err == nil {
			t.Error("a role that does not exist")
		}
		for range 2 {
			if who, err := k.Bearer(ctx, secret); err != nil || who != (auth.Identity{Name: "whmcs", Role: auth.Finance, Kind: "token"}) {
				t.Errorf("token is of %+v, %v", who, err)
			}
			c.Advance(2 * time.Minute)
		}
		for _, wrong := range []string{"", secret + "x", secret[:len(secret)-1], strings.TrimPrefix(secret, "hostmeter_"), strings.ToUpper(secret)} {
			if _, err := k.Bearer(ctx, wrong); !errors.Is(err, auth.ErrToken) {
				t.Errorf("%.15q: %v", wrong, err)
			}
		}
		if _, err := k.Session(ctx, secret); !errors.Is(err, auth.ErrSession) {
			t.Errorf("a token as a session: %v", err)
		}
		if err := k.RevokeToken(ctx, "local:root", "whmcs"); err != nil {
			t.Fatal(err)
		}
		revoked := c.Now()
		c.Advance(time.Hour)
		if err := k.RevokeToken(ctx, "local:root", "whmcs"); err != nil {
			t.Errorf("revoking twice: %v", err)
		}
		if _, err := k.Bearer(ctx, secret); !errors.Is(err, auth.ErrToken) {
			t.Errorf("a revoked token: %v", err)
		}
		tokens, err := k.Tokens(ctx)
		if err != nil || len(tokens) != 1 || tokens[0].UsedAt == nil || !tokens[0].UsedAt.Equal(began.Add(2*time.Minute)) || !tokens[0].RevokedAt.Equal(revoked) {
			t.Errorf("tokens: %+v, %v", tokens, err)
		}
		if err := k.RevokeToken(ctx, "local:root", "nobody"); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("revoking nothing: %v", err)
		}
	})
}

// Who may approve charges, and who let them, stands in the audit log; what was refused does not.
func TestUsersAndTokensAreAudited(t *testing.T) {
	each(t, func(t *testing.T, k *auth.Keeper, _ *clock.Manual, db *store.DB) {
		_, created := k.CreateToken(ctx, "local:eve", "whmcs", auth.Finance)
		done := errors.Join(created, k.SetPassword(ctx, "local:eve", "ada", "another horse battery"), k.RevokeToken(ctx, "local:bob", "whmcs"),
			k.RevokeToken(ctx, "local:bob", "whmcs"), k.RemoveUser(ctx, "local:bob", "ada"))
		if done != nil {
			t.Fatal(done)
		}
		if _, err := k.CreateToken(ctx, "local:eve", "whmcs", auth.Admin); err == nil {
			t.Error("a name was given twice")
		}
		if err := k.RemoveUser(ctx, "local:bob", "ada"); err == nil {
			t.Error("a user was removed twice")
		}
		events, err := audit.Events(ctx, db, "", 0, 100)
		var got []string
		for _, e := range events {
			got = append(got, strings.TrimSpace(strings.Join([]string{e.Actor, e.Action, e.Subject, e.Reason}, " ")))
		}
		want := []string{"local:root add user ada noc", "local:eve create token whmcs finance", "local:eve change password ada", "local:bob revoke token whmcs", "local:bob remove user ada"}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("audit log: %q, %v\nwant       %q", got, err, want)
		}
	})
}

// TestStoreHoldsNoSecret reads every text of the tables of this package.
func TestStoreHoldsNoSecret(t *testing.T) {
	each(t, func(t *testing.T, k *auth.Keeper, _ *clock.Manual, db *store.DB) {
		session, err := k.Login(ctx, "ada", password, client)
		if err != nil {
			t.Fatal(err)
		}
		token, err := k.CreateToken(ctx, "local:root", "whmcs", auth.Finance)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.AddUser(ctx, "local:root", "bob", auth.NOC, password); err != nil {
			t.Fatal(err)
		}
		var all []string
		err = db.View(ctx, func(tx *store.Tx) error {
			for _, query := range []string{`SELECT password_hash FROM auth_user ORDER BY name`, `SELECT token_hash FROM auth_session`, `SELECT token_hash FROM auth_token`} {
				rows, err := tx.Query(ctx, query)
				if err != nil {
					return err
				}
				for rows.Next() {
					var text string
					if err := rows.Scan(&text); err != nil {
						return err
					}
					all = append(all, text)
				}
				if err := rows.Close(); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || len(all) != 4 {
			t.Fatalf("%d texts, %v", len(all), err)
		}
		if all[0] == all[1] {
			t.Error("two users with one password have one hash: no salt")
		}
		for _, text := range all {
			for _, secret := range []string{password, session, token, strings.TrimPrefix(token, "hostmeter_")} {
				if strings.Contains(text, secret) {
					t.Errorf("the store holds a secret: %s", text)
				}
			}
		}
		if !strings.HasPrefix(all[0], "$argon2id$v=19$m=19456,t=2,p=1$") {
			t.Errorf("password is kept as %.40s", all[0])
		}
		if len(session) != 43 || len(token) != len("hostmeter_")+43 {
			t.Errorf("secrets of %d and %d characters: want 256 bits", len(session), len(token))
		}
	})
}

func TestLoginLimits(t *testing.T) {
	each(t, func(t *testing.T, k *auth.Keeper, c *clock.Manual, _ *store.DB) {
		try := func(name, password string, from netip.Addr) error {
			_, err := k.Login(ctx, name, password, from)
			return err
		}
		limited := func(err error) bool {
			var rate *auth.RateError
			return errors.As(err, &rate) && rate.RetryAfter > 0 && rate.RetryAfter <= time.Minute
		}
		for range 5 {
			if err := try("ada", "wrong", client); !errors.Is(err, auth.ErrCredentials) {
				t.Fatal(err)
			}
		}
		if err := try("ada", password, client); !limited(err) {
			t.Errorf("sixth attempt on one name from one address: %v", err)
		}
		if err := try("ada", password, netip.MustParseAddr("198.51.100.8")); err != nil {
			t.Errorf("the real ada, from elsewhere, is kept out: %v", err)
		}
		c.Advance(time.Minute)
		if err := try("ada", password, client); err != nil {
			t.Errorf("after a minute: %v", err)
		}
		guesses := 0 // one network guessing many names, from every address of its /64
		for i := range 60 {
			from := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i), 15: 1})
			if err := try(string(rune('a'+i%26))+"x", "wrong", from); limited(err) {
				break
			}
			guesses++
		}
		if guesses != 20 {
			t.Errorf("a /64 had %d guesses, want 20", guesses)
		}
	})
}

// TestConcurrentUse lets many requests of one session and one token touch the same rows.
func TestConcurrentUse(t *testing.T) {
	each(t, func(t *testing.T, k *auth.Keeper, c *clock.Manual, _ *store.DB) {
		session, err := k.Login(ctx, "ada", password, client)
		if err != nil {
			t.Fatal(err)
		}
		token, err := k.CreateToken(ctx, "local:root", "whmcs", auth.Finance)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			c.Advance(2 * time.Minute)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if _, err := k.Session(ctx, session); err != nil {
						t.Errorf("session: %v", err)
					}
					if _, err := k.Bearer(ctx, token); err != nil {
						t.Errorf("token: %v", err)
					}
				})
			}
			wg.Wait()
		}
	})
}

func TestConfig(t *testing.T) {
	if err := auth.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	f := func(idle, absolute time.Duration, key string) {
		t.Helper()
		if err := (auth.Config{Idle: idle, Absolute: absolute}).Validate(); err == nil || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("idle %s, absolute %s: %v", idle, absolute, err)
		}
	}
	f(0, time.Hour, "idle:")
	f(time.Hour, time.Minute, "absolute:")
}
