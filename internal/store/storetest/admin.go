package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// admin runs a statement that cannot be in a transaction.
func admin(t *testing.T, dsn, statement string) {
	t.Helper()
	if err := run(dsn, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// drop takes a database away. The server's own worker may be vacuuming it, which nobody but a superuser may end: it is
// done soon.
func drop(t *testing.T, dsn, name string) {
	t.Helper()
	const attempts, insufficientPrivilege = 100, "42501"
	for i := 1; ; i++ {
		err := run(dsn, "DROP DATABASE "+name+" WITH (FORCE)")
		var refused *pgconn.PgError
		if i == attempts || !errors.As(err, &refused) || refused.Code != insufficientPrivilege {
			if err != nil {
				t.Errorf("drop database %s: %v", name, err)
			}
			return
		}
		if err := run(dsn, "SELECT pg_sleep(0.1)"); err != nil {
			t.Error(err)
			return
		}
	}
}

func run(dsn, statement string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	return err
}
