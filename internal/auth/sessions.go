package auth

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"
	"time"

	"hostmeter/internal/store"
)

// Login checks a password and begins a session, whose secret it returns for the cookie. Every login
// has a new one.
//
// client is the browser's address; it may be invalid. Errors: ErrCredentials, which does not tell
// whether the name exists; *RateError.
func (k *Keeper) Login(ctx context.Context, name, password string, client netip.Addr) (secret string, err error) {
	now := k.clock.Now()
	if wait := k.limits.take(name, client, now); wait > 0 {
		return "", &RateError{RetryAfter: wait}
	}
	var hash string
	err = k.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(ctx, `SELECT password_hash FROM auth_user WHERE name = ?`, name).Scan(&hash)
	})
	unknown := errors.Is(err, sql.ErrNoRows)
	if err != nil && !unknown {
		return "", err
	}
	if unknown {
		hash = nobody
	}
	if len(password) > passwordMax || !k.checkHash(password, hash) || unknown {
		return "", ErrCredentials
	}
	k.limits.forgive(name, client)
	secret = newSecret()
	err = k.db.Update(ctx, func(tx *store.Tx) error {
		if err := k.sweep(ctx, tx); err != nil {
			return err
		}
		// The password may have been changed, or the user removed, while it was being checked.
		n, err := tx.Exec(ctx, `INSERT INTO auth_session (token_hash, user_name, created_at, used_at)
			SELECT CAST(? AS TEXT), name, CAST(? AS BIGINT), CAST(? AS BIGINT) FROM auth_user WHERE name = ? AND password_hash = ?`,
			digest(secret), tx.Now.UnixNano(), tx.Now.UnixNano(), name, hash)
		if err == nil && n == 0 {
			return ErrCredentials
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// PeekSession returns who has the session, and does not count as its use. Errors: ErrSession.
func (k *Keeper) PeekSession(ctx context.Context, secret string) (Identity, error) {
	identity, _, err := k.session(ctx, digest(secret), k.clock.Now())
	return identity, err
}

// Session returns who has the session, and counts as its use. Errors: ErrSession.
func (k *Keeper) Session(ctx context.Context, secret string) (Identity, error) {
	now, hash := k.clock.Now(), digest(secret)
	identity, used, err := k.session(ctx, hash, now)
	if err != nil || now.Sub(used) < touchEvery {
		return identity, err
	}
	err = k.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE auth_session SET used_at = ? WHERE token_hash = ? AND used_at < ?`, now.UnixNano(), hash, now.UnixNano())
		return err
	})
	if store.IsConflict(err) { // another request of the same session has just done it
		err = nil
	}
	return identity, err
}

// session reads a session that is not over, and when it was used last.
func (k *Keeper) session(ctx context.Context, hash string, now time.Time) (Identity, time.Time, error) {
	identity := Identity{Kind: "user"}
	var created, used int64
	err := k.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(ctx, `SELECT u.name, u.role, s.created_at, s.used_at
			FROM auth_session s JOIN auth_user u ON u.name = s.user_name WHERE s.token_hash = ?`, hash).
			Scan(&identity.Name, &identity.Role, &created, &used)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Identity{}, time.Time{}, ErrSession
	}
	if err != nil {
		return Identity{}, time.Time{}, err
	}
	usedAt := time.Unix(0, used)
	if now.Sub(usedAt) >= k.config.Idle || now.Sub(time.Unix(0, created)) >= k.config.Absolute {
		return Identity{}, time.Time{}, ErrSession
	}
	return identity, usedAt, nil
}

// Logout ends a session. One that is over already is no error.
func (k *Keeper) Logout(ctx context.Context, secret string) error {
	return k.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM auth_session WHERE token_hash = ?`, digest(secret))
		return err
	})
}
