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

// Session returns who has the session. Errors: ErrSession.
func (k *Keeper) Session(ctx context.Context, secret string) (Identity, error) {
	identity := Identity{Kind: "user"}
	var created, used int64
	hash := digest(secret)
	err := k.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(ctx, `SELECT u.name, u.role, s.created_at, s.used_at
			FROM auth_session s JOIN auth_user u ON u.name = s.user_name WHERE s.token_hash = ?`, hash).
			Scan(&identity.Name, &identity.Role, &created, &used)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Identity{}, ErrSession
	}
	if err != nil {
		return Identity{}, err
	}
	now := k.clock.Now()
	if now.Sub(time.Unix(0, used)) >= k.config.Idle || now.Sub(time.Unix(0, created)) >= k.config.Absolute {
		return Identity{}, ErrSession
	}
	if now.Sub(time.Unix(0, used)) < touchEvery {
		return identity, nil
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

// Logout ends a session. One that is over already is no error.
func (k *Keeper) Logout(ctx context.Context, secret string) error {
	return k.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM auth_session WHERE token_hash = ?`, digest(secret))
		return err
	})
}
