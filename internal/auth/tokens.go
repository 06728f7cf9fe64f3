package auth

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"hostmeter/internal/audit"
	"hostmeter/internal/store"
)

// tokenPrefix lets a secret scanner, and a person, see what leaked.
const tokenPrefix = "hostmeter_"

// Token is a program's right to use the API. The secret itself is shown once, when it is made.
type Token struct {
	Name      string     `json:"name"`
	Role      Role       `json:"role"`
	CreatedAt time.Time  `json:"created_at"`
	UsedAt    *time.Time `json:"used_at"`
	RevokedAt *time.Time `json:"revoked_at"`
}

// CreateToken makes a token and returns its secret, which is not kept; by is who does, for the audit log. Errors: ErrExists, also for
// the name of a revoked token, which the audit still needs.
func (k *Keeper) CreateToken(ctx context.Context, by, name string, role Role) (secret string, err error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	if _, err := ParseRole(string(role)); err != nil {
		return "", err
	}
	secret = tokenPrefix + newSecret()
	err = k.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO auth_token (name, token_hash, role, created_at) VALUES (?, ?, ?, ?)`,
			name, digest(secret), string(role), tx.Now.UnixNano())
		if err != nil {
			return err
		}
		return audit.Add(ctx, tx, audit.Event{Actor: by, Action: "create token", Subject: name, Reason: string(role)})
	})
	if store.IsDuplicate(err) {
		return "", fmt.Errorf("token %s: %w", name, ErrExists)
	}
	if err != nil {
		return "", err
	}
	return secret, nil
}

// Tokens lists the tokens by name, the revoked ones too.
func (k *Keeper) Tokens(ctx context.Context) (tokens []Token, err error) {
	err = k.db.View(ctx, func(tx *store.Tx) (err error) {
		tokens, err = store.List(ctx, tx, readToken, `SELECT name, role, created_at, used_at, revoked_at FROM auth_token ORDER BY name`)
		return err
	})
	return tokens, err
}

func readToken(row store.Row) (t Token, err error) {
	var created int64
	var used, revoked sql.NullInt64
	err = row.Scan(&t.Name, &t.Role, &created, &used, &revoked)
	t.CreatedAt, t.UsedAt, t.RevokedAt = time.Unix(0, created).UTC(), optional(used), optional(revoked)
	return t, err
}

// RevokeToken ends a token for good. Errors: ErrNotFound. Revoking twice changes nothing.
func (k *Keeper) RevokeToken(ctx context.Context, by, name string) error {
	return k.db.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE auth_token SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL`, tx.Now.UnixNano(), name)
		switch {
		case err != nil:
			return err
		case n > 0:
			return audit.Add(ctx, tx, audit.Event{Actor: by, Action: "revoke token", Subject: name})
		}
		var there int
		err = tx.QueryRow(ctx, `SELECT 1 FROM auth_token WHERE name = ?`, name).Scan(&there)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("token %s: %w", name, ErrNotFound)
		}
		return err
	})
}

// Bearer returns who has the token. Errors: ErrToken.
func (k *Keeper) Bearer(ctx context.Context, secret string) (Identity, error) {
	if !strings.HasPrefix(secret, tokenPrefix) {
		return Identity{}, ErrToken
	}
	identity := Identity{Kind: "token"}
	var used sql.NullInt64
	hash := digest(secret)
	err := k.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(ctx, `SELECT name, role, used_at FROM auth_token WHERE token_hash = ? AND revoked_at IS NULL`, hash).
			Scan(&identity.Name, &identity.Role, &used)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Identity{}, ErrToken
	}
	if err != nil {
		return Identity{}, err
	}
	now := k.clock.Now()
	if used.Valid && now.Sub(time.Unix(0, used.Int64)) < touchEvery {
		return identity, nil
	}
	err = k.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE auth_token SET used_at = ? WHERE token_hash = ?`, now.UnixNano(), hash)
		return err
	})
	if store.IsConflict(err) { // another request with the same token has just done it
		err = nil
	}
	return identity, err
}

func optional(n sql.NullInt64) *time.Time {
	if !n.Valid {
		return nil
	}
	at := time.Unix(0, n.Int64).UTC()
	return &at
}
