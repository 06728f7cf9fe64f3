package mail_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/config"
	"hostmeter/internal/mail"
	"hostmeter/internal/mail/mailtest"
)

func lab(t *testing.T) (*mailtest.Server, *mail.Sender) {
	t.Helper()
	server, err := mailtest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	cfg := mail.DefaultConfig()
	cfg.Server, cfg.TLS, cfg.From, cfg.ReplyTo = server.Addr(), mail.NoTLS, "Exämple Hosting <billing@example.net>", "sales@example.net"
	sender, err := mail.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return server, sender
}

var message = mail.Message{ID: "notice-1.abc", To: "ada@example.org", Subject: "90 % of “s1” is used", Text: "Dear Ada,\n.\nn\u00a0= 1\n",
	At: time.Date(2026, 10, 5, 12, 0, 0, 0, time.UTC), Headers: map[string]string{"Auto-Submitted": "auto-generated"}}

func TestAMessageArrivesAsItIs(t *testing.T) {
	server, sender := lab(t)
	if err := sender.Send(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	got := server.Taken()
	if len(got) != 1 || got[0].To != message.To || got[0].Subject != message.Subject || got[0].Text != message.Text || got[0].ID != "<notice-1.abc@example.net>" {
		t.Fatalf("%+v", got)
	}
	for name, want := range map[string]string{"Auto-Submitted": "auto-generated", "Reply-To": "<sales@example.net>", "Date": "Mon, 05 Oct 2026 12:00:00 +0000"} {
		if got[0].Header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got[0].Header.Get(name), want)
		}
	}
}

// TestAFailureSaysWhatIsKnown: what was refused or deferred is nowhere; only where the text was there and no answer came
// is it not known, and it is there.
func TestAFailureSaysWhatIsKnown(t *testing.T) {
	f := func(failure mailtest.Failure, want error, taken int) {
		t.Helper()
		server, sender := lab(t)
		server.Fail(failure)
		err := sender.Send(t.Context(), message)
		if err == nil || (want == nil) != (!errors.Is(err, mail.ErrRefused) && !errors.Is(err, mail.ErrUntouched)) || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", failure, err, want)
		}
		if len(server.Taken()) != taken {
			t.Errorf("%s: %d taken, want %d", failure, len(server.Taken()), taken)
		}
	}
	f(mailtest.RefuseTo, mail.ErrRefused, 0)
	f(mailtest.Defer, mail.ErrUntouched, 0)
	f(mailtest.CutBefore, mail.ErrUntouched, 0)
	f(mailtest.HangUpAtOnce, mail.ErrUntouched, 0)
	f(mailtest.CutAfter, nil, 1)
	server, sender := lab(t)
	server.Close()
	if err := sender.Send(t.Context(), message); !errors.Is(err, mail.ErrUntouched) {
		t.Errorf("no server: %v", err)
	}
}

func TestHostileTextsStayInTheirPlaces(t *testing.T) {
	server, sender := lab(t)
	evil := message
	evil.Subject = "x\r\nBcc: eve@example.org\r\n\r\nbody"
	if err := sender.Send(t.Context(), evil); err != nil {
		t.Fatal(err)
	}
	if got := server.Taken()[0]; got.Header.Get("Bcc") != "" || strings.Contains(got.Text, "eve") {
		t.Fatalf("a subject became a header: %+v", got.Header)
	}
	evil = message
	for _, to := range []string{"ada@example.org>\r\nRCPT TO:<eve@example.org", "not an address", ""} {
		evil.To = to
		if err := sender.Send(t.Context(), evil); !errors.Is(err, mail.ErrRefused) {
			t.Errorf("to %q: %v", to, err)
		}
	}
	if len(server.Taken()) != 1 {
		t.Fatal("a bad address was sent to")
	}
}

func TestConfigurationNamesTheKey(t *testing.T) {
	f := func(change func(*mail.Config), want string) {
		t.Helper()
		c := mail.DefaultConfig()
		c.Server, c.From = "mail.example.net:587", "billing@example.net"
		change(&c)
		if err := c.Validate(); err == nil && want != "" || err != nil && (want == "" || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%v, want %s…", err, want)
		}
	}
	f(func(*mail.Config) {}, "")
	f(func(c *mail.Config) { *c = mail.DefaultConfig() }, "")
	f(func(c *mail.Config) { c.Server = "mail.example.net" }, "server:")
	f(func(c *mail.Config) { c.TLS = "ssl" }, "tls:")
	f(func(c *mail.Config) { c.From = "" }, "from:")
	f(func(c *mail.Config) { c.From = "nobody" }, "from:")
	f(func(c *mail.Config) { c.ReplyTo = "nobody" }, "reply_to:")
	f(func(c *mail.Config) { c.Username = "u" }, "password:")
	f(func(c *mail.Config) { c.Username, c.Password, c.TLS = "u", config.NewSecret("p"), mail.NoTLS }, "tls:")
	f(func(c *mail.Config) { c.Timeout = 0 }, "timeout:")
}
