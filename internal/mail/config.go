package mail

import (
	"errors"
	"fmt"
	"net"
	stdmail "net/mail"
	"strconv"
	"time"

	"hostmeter/internal/config"
)

// TLS says how a connection to the mail server is protected.
type TLS string

// The ways. A password goes over none of them in the clear.
const (
	StartTLS TLS = "starttls" // the connection begins in the clear, and nothing is sent before TLS
	Implicit TLS = "tls"      // from the first octet, as on port 465
	NoTLS    TLS = "none"     // for a server on this machine
)

// Config is the part `mail` of the configuration.
type Config struct {
	// Server is HOST:PORT of the mail server that takes our messages (a submission server or a relay). Empty: no mail
	// is sent.
	Server   string        `yaml:"server"`
	TLS      TLS           `yaml:"tls"`
	Username string        `yaml:"username"`
	Password config.Secret `yaml:"password"`
	// From is the sender, "Example Hosting <billing@example.net>", and ReplyTo where answers go; empty: to From.
	From    string        `yaml:"from"`
	ReplyTo string        `yaml:"reply_to"`
	Timeout time.Duration `yaml:"timeout"` // of one message
}

// DefaultConfig sends nothing.
func DefaultConfig() Config { return Config{TLS: StartTLS, Timeout: 30 * time.Second} }

// Enabled says whether mail is sent.
func (c Config) Enabled() bool { return c.Server != "" }

// Validate names the key that is wrong.
func (c Config) Validate() error {
	if !c.Enabled() {
		return nil
	}
	if _, _, err := c.address(); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	switch c.TLS {
	case StartTLS, Implicit, NoTLS:
	default:
		return fmt.Errorf("tls: %q: want starttls, tls or none", c.TLS)
	}
	if (c.Username == "") != !c.Password.IsSet() {
		return errors.New("password: want both username and password, or neither")
	}
	if c.TLS == NoTLS && c.Username != "" {
		return errors.New("tls: none: a password is not sent in the clear; use starttls or tls")
	}
	if c.From == "" {
		return errors.New("from: missing: name the sender, as Example Hosting <billing@example.net>")
	}
	if _, err := stdmail.ParseAddress(c.From); err != nil {
		return fmt.Errorf("from: %q is no address: want Example Hosting <billing@example.net>", c.From)
	}
	if c.ReplyTo != "" {
		if _, err := stdmail.ParseAddress(c.ReplyTo); err != nil {
			return fmt.Errorf("reply_to: %q is no address", c.ReplyTo)
		}
	}
	if c.Timeout <= 0 {
		return fmt.Errorf("timeout: %s is not above 0", c.Timeout)
	}
	return nil
}

func (c Config) address() (host string, port int, err error) {
	host, text, err := net.SplitHostPort(c.Server)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || host == "" || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("%q: want HOST:PORT, as mail.example.net:587", c.Server)
	}
	return host, port, nil
}
