// Package config reads the one YAML file, strictly: an unknown key, a wrong unit or a second
// document is an error that names the line and the key as the user typed it.
//
// It owns the reading only. What the keys mean, and their defaults, is written beside each component
// in a type Config with a function DefaultConfig.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// Read decodes the file at path into the value that into points to, over the defaults already there.
func Read(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if err := Decode(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

var strictly = []yaml.DecodeOption{yaml.Strict(), yaml.DisallowUnknownField()}

// Decode is Read for a text that is in memory. An empty text changes nothing.
func Decode(text []byte, into any) error {
	decoder := yaml.NewDecoder(bytes.NewReader(text), strictly...)
	if err := decoder.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		var placed yaml.Error
		if !errors.As(err, &placed) { // of a type of our own, which does not know where it stands
			return locate(text, into, err)
		}
		return errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	var second any
	if err := decoder.Decode(&second); err == nil && second != nil {
		return errors.New("a second document after ---: the configuration is one document")
	}
	return nil
}

// Secret is a text that must not be shown. In the file it is `env:NAME`, `file:PATH` or, for trials,
// the text itself; it prints as "(secret)".
type Secret struct{ text string }

// NewSecret is for tests and for secrets that are made by the program.
func NewSecret(text string) Secret { return Secret{text: text} }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return s.text }

// IsSet says whether there is a secret.
func (s Secret) IsSet() bool { return s.text != "" }

func (s Secret) String() string { return "(secret)" }

// GoString keeps %#v from showing it.
func (s Secret) GoString() string { return "(secret)" }

// MarshalYAML keeps `config` from printing it.
func (s Secret) MarshalYAML() ([]byte, error) { return []byte(`"(secret)"`), nil }

// MarshalJSON keeps an API from printing it.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"(secret)"`), nil }

// UnmarshalText resolves env: and file:.
func (s *Secret) UnmarshalText(text []byte) error {
	value := string(text)
	if name, ok := strings.CutPrefix(value, "env:"); ok {
		secret, set := os.LookupEnv(name)
		if !set {
			return fmt.Errorf("environment variable %s is not set", name)
		}
		s.text = secret
		return nil
	}
	if path, ok := strings.CutPrefix(value, "file:"); ok {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("read secret: %w", err)
		}
		if info.Mode().Perm()&0o007 != 0 {
			return fmt.Errorf("secret %s can be read by everybody: chmod 600 it", path)
		}
		secret, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read secret: %w", err)
		}
		s.text = strings.TrimRight(string(secret), "\r\n")
		return nil
	}
	s.text = value
	return nil
}

// Size is a number of bytes in memory or in a file: "32 MiB", "1GB", "4096".
type Size int64

// UnmarshalText reads a number with an optional unit, decimal (kB, MB, GB, TB) or binary (KiB, MiB,
// GiB, TiB).
func (s *Size) UnmarshalText(text []byte) error {
	value := strings.TrimSpace(string(text))
	digits := strings.TrimRight(value, "kKMGTiB ")
	unit := strings.TrimSpace(value[len(digits):])
	n, err := strconv.ParseInt(digits, 10, 64)
	factor, known := sizeUnits[unit]
	if err != nil || !known || n < 0 || n > (1<<62)/factor {
		return fmt.Errorf("size %q: want a number with kB, MB, GB, TB, KiB, MiB, GiB or TiB", value)
	}
	*s = Size(n * factor)
	return nil
}

var sizeUnits = map[string]int64{
	"": 1, "B": 1,
	"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}
