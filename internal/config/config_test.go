package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/config"
)

type sample struct {
	Listen string        `yaml:"listen"`
	Every  time.Duration `yaml:"every"`
	Buffer config.Size   `yaml:"buffer"`
	Token  config.Secret `yaml:"token"`
	Sizes  []config.Size `yaml:"sizes"`
	Parts  []part        `yaml:"parts"`
}

type part struct {
	Name string      `yaml:"name"`
	Size config.Size `yaml:"size"`
}

func TestDecode(t *testing.T) {
	t.Setenv("HOSTMETER_TEST_TOKEN", "canary")
	got := sample{Listen: "default", Every: time.Second}
	err := config.Decode([]byte("every: 90s\nbuffer: 32 MiB\ntoken: env:HOSTMETER_TEST_TOKEN\n"), &got)
	if err != nil {
		t.Fatal(err)
	}
	if got.Listen != "default" || got.Every != 90*time.Second || got.Buffer != 32<<20 || got.Token.Reveal() != "canary" {
		t.Fatalf("got %+v", got)
	}
	if text := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(text, "canary") {
		t.Fatalf("a secret was printed: %s", text)
	}
}

func TestDecodeErrorsNameLineAndKey(t *testing.T) {
	f := func(text string, wants ...string) {
		t.Helper()
		err := config.Decode([]byte(text), &sample{})
		if err == nil {
			t.Fatalf("%q was accepted", text)
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Fatalf("error %q does not say %q", err, want)
			}
		}
	}
	f("listen: a\nlisten_on: b\n", "[2:1]", "listen_on")
	f("buffer: 3 XB\n", "[1:9] buffer: ", "3 XB", "MiB")
	f("listen: a\nevery: soon\n", "[2:8] every: ", "soon")
	f("token: env:HOSTMETER_NO_SUCH_VARIABLE\n", "[1:8] token: ", "HOSTMETER_NO_SUCH_VARIABLE")
	f("sizes: [1 kB, 2 XB]\nlisten: a\n", "[1:15] sizes[1]: ", "2 XB")
	f("buffer: 3 XB\nsizes: [1 kB, 2 XB]\n", "[1:9] buffer: ", "3 XB") // the first of two
	f("parts:\n- {name: a, size: 1 kB}\n- name: b\n  size: 3 XB\n", "[4:9] parts[1].size: ", "3 XB")
	f("listen: a\n---\nlisten: b\n", "second document")
}

func TestSecretFileThatEverybodyReadsIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got sample
	if err := config.Decode([]byte("token: file:"+path), &got); err != nil || got.Token.Reveal() != "s3cret" {
		t.Fatalf("got %q, %v", got.Token.Reveal(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := config.Decode([]byte("token: file:"+path), &got); err == nil {
		t.Fatal("a secret that everybody can read was accepted")
	}
}
