package httpapi

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"hostmeter/internal/auth"
)

// chromium returns the browser of this machine, or skips loudly; in CI it must be there.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no Chromium: CI runs deploy/testbed/install.sh first, which installs it")
	}
	t.Skip("PAGES NOT TESTED IN A BROWSER: no chromium in PATH; deploy/testbed/install.sh installs it")
	return ""
}

// startBrowser starts a headless browser, with nothing that speaks to anybody but the site.
func startBrowser(t *testing.T, width, height int) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(width, height))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

// listen runs the site on a port of loopback and returns its URL without the last slash.
func (s *site) listen() string {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	if err := s.server.Open(ctx); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.server.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("server: %v", err)
		}
	})
	url := s.server.URL()
	return url[:len(url)-1]
}

// pictures are the pages as they are looked at: `HOSTMETER_PICTURES=DIR go test -run Pictures`. With
// HOSTMETER_SITE=http://NAME:PASSWORD@HOST:PORT those of a running hostmeter.
var pictures = []struct {
	name, path    string
	width, height int
	dark          bool
}{
	{"finance", "/finance", 1280, 1000, false},
	{"finance-closed", "/finance?month=2026-09", 1280, 900, false},
	{"finance-empty", "/finance?month=2026-01", 1280, 900, false},
	{"resellers", "/resellers", 1280, 900, false},
	{"resellers-empty", "/resellers?month=2026-01", 1280, 900, false},
	{"finance-dark", "/finance", 1280, 900, true},
	{"finance-phone", "/finance", 390, 1500, false},
	{"reconciliation", "/finance/reconciliation", 1280, 1000, false},
	{"reconciliation-dark", "/finance/reconciliation", 1280, 900, true},
	{"reconciliation-phone", "/finance/reconciliation", 390, 1500, false},
	{"unowned", "/finance/unowned", 1280, 700, false},
	{"completeness", "/finance/completeness", 1280, 800, false},
	{"addresses", "/finance/addresses", 1280, 1000, false},
	{"addresses-phone", "/finance/addresses", 390, 1500, true},
	{"noc", "/noc", 1280, 1000, false},
	{"noc-dark", "/noc", 1280, 900, true},
	{"notices", "/notices", 1280, 900, false},
	{"noc-phone", "/noc", 390, 1500, true},
	{"incident", "/incidents/i-0007", 1280, 1210, false},
	{"incident-cpu-dark", "/incidents/i-0004", 1280, 900, true},
	{"incident-phone", "/incidents/i-0004", 390, 1500, false},
	{"meter", "/meters/address:192.0.2.1", 1280, 900, false},
	{"exporters", "/noc#exporters", 1280, 1000, false},
	{"admin", "/admin", 1280, 1000, false},
	{"admin-phone", "/admin", 390, 1500, false},
	{"problem", "/incidents/nobody", 1280, 900, false},
}

func TestPictures(t *testing.T) {
	dir := os.Getenv("HOSTMETER_PICTURES")
	if dir == "" {
		t.Skip("no pictures: HOSTMETER_PICTURES names no folder")
	}
	base, name, secret := siteForPictures(t)
	ctx := startBrowser(t, 1280, 900)
	shoot := func(name, path string, width, height int, dark bool) {
		t.Helper()
		scheme := "light"
		if dark {
			scheme = "dark"
		}
		err := chromedp.Do(ctx,
			chromedp.EmulateViewport(int64(width), int64(height)),
			chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
				_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
					Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
				return err
			}),
			chromedp.Navigate(base+path))
		if err != nil {
			t.Fatal(err)
		}
		png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shoot("login", "/login", 1280, 900, false)
	if err := browserLoginAs(ctx, base, name, secret); err != nil {
		t.Fatal(err)
	}
	incident := firstIncident(t, ctx, base)
	for _, p := range pictures {
		if strings.HasPrefix(p.path, "/incidents/i-") && os.Getenv("HOSTMETER_SITE") != "" {
			p.path = incident // of a running site
		}
		shoot(p.name, p.path, p.width, p.height, p.dark)
	}
}

// firstIncident returns the path of the first incident that is open.
func firstIncident(t *testing.T, ctx context.Context, base string) string {
	t.Helper()
	if err := chromedp.Do(ctx, chromedp.Navigate(base+"/noc")); err != nil {
		t.Fatal(err)
	}
	path, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.querySelector("#open th a")?.pathname ?? "/noc"`))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// siteForPictures returns a site that runs, and who may see all of it.
func siteForPictures(t *testing.T) (base, name, secret string) {
	t.Helper()
	if of := os.Getenv("HOSTMETER_SITE"); of != "" {
		u, err := url.Parse(of)
		if err != nil || u.User == nil {
			t.Fatal("HOSTMETER_SITE: want http://NAME:PASSWORD@HOST:PORT")
		}
		secret, _ = u.User.Password()
		return u.Scheme + "://" + u.Host, u.User.Username(), secret
	}
	s := newSite(t)
	s.addUser(auth.Admin)
	return s.listen(), "admin", password
}

func browserLogin(ctx context.Context, base, name string) error {
	return browserLoginAs(ctx, base, name, password)
}

func browserLoginAs(ctx context.Context, base, name, secret string) error {
	return chromedp.Do(ctx, chromedp.Navigate(base+"/login"),
		chromedp.SendKeys(`input[name=name]`, name), chromedp.SendKeys(`input[name=password]`, secret),
		chromedp.Click(`button.primary`), chromedp.WaitVisible(`nav[aria-label=Pages]`))
}
