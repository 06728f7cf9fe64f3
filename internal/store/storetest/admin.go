package storetest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

// admin runs a statement that cannot be in a transaction.
func admin(t *testing.T, dsn, statement string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatalf("connect to the PostgreSQL server of the tests: %v", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
