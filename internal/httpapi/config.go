package httpapi

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"hostmeter/internal/auth"
)

// Config is the part `http` of the configuration.
type Config struct {
	// Listen is the address of the pages and the API, "127.0.0.1:8080". Empty: none.
	Listen string `yaml:"listen"`
	// PrivateListen is the address of metrics and pprof, which internal/telemetry serves.
	PrivateListen string `yaml:"private_listen"`
	// PublicMetrics serves /metrics on Listen too, without a login.
	PublicMetrics bool `yaml:"public_metrics"`
	// TrustForwarded believes X-Forwarded-Proto and the last X-Forwarded-For. Only behind a proxy
	// that sets both: whoever reaches Listen directly could lie.
	TrustForwarded bool        `yaml:"trust_forwarded"`
	TLS            TLSConfig   `yaml:"tls"`
	Session        auth.Config `yaml:"session"`
}

// TLSConfig names PEM files; both or none.
type TLSConfig struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// DefaultConfig listens on loopback only.
func DefaultConfig() Config {
	return Config{Listen: "127.0.0.1:8080", PrivateListen: "127.0.0.1:6060", PublicMetrics: true, Session: auth.DefaultConfig()}
}

// Validate names the key that is wrong.
func (c Config) Validate() error {
	for key, address := range map[string]string{"listen": c.Listen, "private_listen": c.PrivateListen} {
		if address == "" {
			continue
		}
		if err := checkAddress(address); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") {
		return errors.New("tls: want both certificate and key, or neither")
	}
	for key, path := range map[string]string{"tls.certificate": c.TLS.Certificate, "tls.key": c.TLS.Key} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if err := c.Session.Validate(); err != nil {
		return fmt.Errorf("session.%w", err)
	}
	return nil
}

func checkAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q: want HOST:PORT", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		return fmt.Errorf("%q: port is not a number from 0 to 65535", address)
	}
	return nil
}
