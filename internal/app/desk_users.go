package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"hostmeter/internal/auth"
)

// AddUser adds a user; the password is the first line of in.
func (d *Desk) AddUser(ctx context.Context, name, role string, in io.Reader, prompt io.Writer) error {
	parsed, err := auth.ParseRole(role)
	if err != nil {
		return wrong(err, "roles: finance sees money, noc sees incidents, admin sees and changes all")
	}
	password, err := readPassword(in, prompt)
	if err != nil {
		return err
	}
	return d.keeper.AddUser(ctx, LocalActor(), name, parsed, password)
}

// SetPassword replaces a password and ends the user's sessions.
func (d *Desk) SetPassword(ctx context.Context, name string, in io.Reader, prompt io.Writer) error {
	password, err := readPassword(in, prompt)
	if err != nil {
		return err
	}
	return d.keeper.SetPassword(ctx, LocalActor(), name, password)
}

// RemoveUser removes a user and ends the user's sessions.
func (d *Desk) RemoveUser(ctx context.Context, name string) error {
	return d.keeper.RemoveUser(ctx, LocalActor(), name)
}

func readPassword(in io.Reader, prompt io.Writer) (string, error) {
	fmt.Fprint(prompt, "password (at least 15 characters, then Enter): ")
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	password := strings.TrimRight(line, "\r\n")
	if password == "" {
		return "", wrong(errors.New("no password on standard input"), `for a script: printf '%s\n' "$PASSWORD" | hostmeter user add NAME --role ROLE`)
	}
	return password, nil
}

// ListUsers prints who may log in.
func (d *Desk) ListUsers(ctx context.Context, asJSON bool, w io.Writer) error {
	users, err := d.keeper.Users(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, users)
	}
	rows := [][]string{{"NAME", "ROLE", "CREATED"}}
	for _, u := range users {
		rows = append(rows, []string{u.Name, string(u.Role), u.CreatedAt.Format(time.RFC3339)})
	}
	return printTable(w, rows)
}

// CreateToken makes a token and prints it, the only time that it can be seen.
func (d *Desk) CreateToken(ctx context.Context, name, role string, w io.Writer) error {
	parsed, err := auth.ParseRole(role)
	if err != nil {
		return wrong(err, "roles: finance reads money and usage records, noc incidents, admin all")
	}
	secret, err := d.keeper.CreateToken(ctx, LocalActor(), name, parsed)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, secret)
	return err
}

// ListTokens prints the tokens' names and use.
func (d *Desk) ListTokens(ctx context.Context, asJSON bool, w io.Writer) error {
	tokens, err := d.keeper.Tokens(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, tokens)
	}
	rows := [][]string{{"NAME", "ROLE", "CREATED", "LAST USED"}}
	for _, t := range tokens {
		used := "never"
		if t.UsedAt != nil {
			used = t.UsedAt.Format(time.RFC3339)
		}
		rows = append(rows, []string{t.Name, string(t.Role), t.CreatedAt.Format(time.RFC3339), used})
	}
	return printTable(w, rows)
}

// RevokeToken makes a token useless.
func (d *Desk) RevokeToken(ctx context.Context, name string) error {
	return d.keeper.RevokeToken(ctx, LocalActor(), name)
}
