// Package auth knows who may use the API and the pages: users with a password, their sessions, and
// tokens for programs. Each has one role.
//
// It promises that a password, a session or a token can not be read out of the store or of a log:
// the store has argon2id of passwords and SHA-256 of the others. What a role may do is said by the
// table of routes in internal/httpapi, not here.
package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"time"
	"unicode/utf8"

	"hostmeter/internal/clock"
	"hostmeter/internal/store"
)

// Role is what a user or a token may do.
type Role string

// The roles. An admin may do what the others may.
const (
	Finance Role = "finance"
	NOC     Role = "noc"
	Admin   Role = "admin"
)

// Roles lists every role.
var Roles = []Role{Finance, NOC, Admin}

// Errors of this package.
var (
	ErrNotFound    = errors.New("not found")
	ErrExists      = errors.New("exists already")
	ErrCredentials = errors.New("wrong name or password")
	// ErrSession says that there is no such session, or that it is over.
	ErrSession = errors.New("no such session")
	// ErrToken says that there is no such token, or that it was revoked.
	ErrToken = errors.New("no such token")
)

// RateError says that too many logins failed.
type RateError struct{ RetryAfter time.Duration }

func (e *RateError) Error() string {
	return fmt.Sprintf("too many failed logins: try again in %s", e.RetryAfter.Round(time.Second))
}

// Identity is who makes a request.
type Identity struct {
	Name string
	Role Role
	// Kind is "user" or "token".
	Kind string
}

// Actor returns the identity as incidents and the audit remember it, "user:ada".
func (i Identity) Actor() string { return i.Kind + ":" + i.Name }

// Config limits sessions; it is the part `http.session` of the configuration.
type Config struct {
	// Idle ends a session that was not used for so long.
	Idle time.Duration `yaml:"idle"`
	// Absolute ends a session however much it is used.
	Absolute time.Duration `yaml:"absolute"`
}

// DefaultConfig ends sessions after 30 idle minutes, and after 12 hours in any case.
func DefaultConfig() Config { return Config{Idle: 30 * time.Minute, Absolute: 12 * time.Hour} }

// Validate names the key that is wrong.
func (c Config) Validate() error {
	if c.Idle < time.Minute {
		return errors.New("idle: want at least 1m")
	}
	if c.Absolute < c.Idle {
		return errors.New("absolute: shorter than idle")
	}
	return nil
}

// touchEvery is how often the use of a session or a token is written down, so that reading a page is
// not a write to the store. A session may so end up to touchEvery early, never late.
const touchEvery = time.Minute

// Keeper keeps users, sessions and tokens in the store. It is safe for concurrent use.
type Keeper struct {
	db     *store.DB
	clock  clock.Clock
	config Config
	limits *limiter
	hashes chan struct{} // one element for each password that is being hashed
}

// New returns a Keeper over a migrated store.
func New(db *store.DB, c clock.Clock, config Config) *Keeper {
	return &Keeper{db: db, clock: c, config: config, limits: newLimiter(), hashes: make(chan struct{}, 2)}
}

// AbsoluteLifetime tells how long a session can last, for its cookie.
func (k *Keeper) AbsoluteLifetime() time.Duration { return k.config.Absolute }

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{0,63}$`)

func checkName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("name %q: want lower-case letters, digits, and . _ @ - (at most 64, beginning with a letter or digit)", name)
	}
	return nil
}

// ParseRole reads a role.
func ParseRole(text string) (Role, error) {
	for _, role := range Roles {
		if text == string(role) {
			return role, nil
		}
	}
	return "", fmt.Errorf("role %q: want finance, noc or admin", text)
}

// passwordMin follows NIST SP 800-63B-4 for a password that is the only factor.
const passwordMin, passwordMax = 15, 1024

func checkPassword(name, password string) error {
	switch {
	case utf8.RuneCountInString(password) < passwordMin:
		return fmt.Errorf("password: want at least %d characters", passwordMin)
	case len(password) > passwordMax:
		return fmt.Errorf("password: want at most %d bytes", passwordMax)
	case password == name:
		return errors.New("password: it is the name")
	}
	return nil
}

// newSecret returns 256 random bits as text.
func newSecret() string {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// digest is what the store keeps of a session or a token.
func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// sweep forgets sessions that are over. It is called at each login.
func (k *Keeper) sweep(ctx context.Context, tx *store.Tx) error {
	_, err := tx.Exec(ctx, `DELETE FROM auth_session WHERE used_at <= ? OR created_at <= ?`,
		tx.Now.Add(-k.config.Idle).UnixNano(), tx.Now.Add(-k.config.Absolute).UnixNano())
	return err
}
