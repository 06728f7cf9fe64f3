package auth

import (
	"context"
	"fmt"
	"time"

	"hostmeter/internal/audit"
	"hostmeter/internal/store"
)

// User is a person who may log in.
type User struct {
	Name      string    `json:"name"`
	Role      Role      `json:"role"`
	CreatedAt time.Time `json:"created_at"`
	ChangedAt time.Time `json:"changed_at"`
}

// AddUser adds a user; by is who does, for the audit log. Errors: ErrExists; a name, role or password that is refused says why.
func (k *Keeper) AddUser(ctx context.Context, by, name string, role Role, password string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := ParseRole(string(role)); err != nil {
		return err
	}
	if err := checkPassword(name, password); err != nil {
		return err
	}
	hash := k.hashPassword(password)
	err := k.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO auth_user (name, role, password_hash, created_at, changed_at) VALUES (?, ?, ?, ?, ?)`,
			name, string(role), hash, tx.Now.UnixNano(), tx.Now.UnixNano())
		if err != nil {
			return err
		}
		return audit.Add(ctx, tx, audit.Event{Actor: by, Action: "add user", Subject: name, Reason: string(role)})
	})
	if store.IsDuplicate(err) {
		return fmt.Errorf("user %s: %w", name, ErrExists)
	}
	return err
}

// Users lists the users by name.
func (k *Keeper) Users(ctx context.Context) (users []User, err error) {
	err = k.db.View(ctx, func(tx *store.Tx) (err error) {
		users, err = store.List(ctx, tx, readUser, `SELECT name, role, created_at, changed_at FROM auth_user ORDER BY name`)
		return err
	})
	return users, err
}

func readUser(row store.Row) (u User, err error) {
	var created, changed int64
	err = row.Scan(&u.Name, &u.Role, &created, &changed)
	u.CreatedAt, u.ChangedAt = time.Unix(0, created).UTC(), time.Unix(0, changed).UTC()
	return u, err
}

// SetPassword changes a user's password and ends their sessions. Errors: ErrNotFound.
func (k *Keeper) SetPassword(ctx context.Context, by, name, password string) error {
	if err := checkPassword(name, password); err != nil {
		return err
	}
	hash := k.hashPassword(password)
	return k.db.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE auth_user SET password_hash = ?, changed_at = ? WHERE name = ?`, hash, tx.Now.UnixNano(), name)
		if err != nil {
			return err
		}
		return endSessions(ctx, tx, n, audit.Event{Actor: by, Action: "change password", Subject: name})
	})
}

// RemoveUser removes a user and ends their sessions. Errors: ErrNotFound.
func (k *Keeper) RemoveUser(ctx context.Context, by, name string) error {
	return k.db.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(ctx, `DELETE FROM auth_user WHERE name = ?`, name)
		if err != nil {
			return err
		}
		return endSessions(ctx, tx, n, audit.Event{Actor: by, Action: "remove user", Subject: name})
	})
}

// endSessions deletes the sessions of the user of a deed that changed n rows, and writes the deed down.
func endSessions(ctx context.Context, tx *store.Tx, n int64, deed audit.Event) error {
	if n == 0 {
		return fmt.Errorf("user %s: %w", deed.Subject, ErrNotFound)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM auth_session WHERE user_name = ?`, deed.Subject); err != nil {
		return err
	}
	return audit.Add(ctx, tx, deed)
}
