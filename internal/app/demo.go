package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"hostmeter/collector"
	"hostmeter/collector/udp"
	"hostmeter/internal/auth"
	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/simulate"
)

// DemoOptions are the flags of `hostmeter demo`.
type DemoOptions struct {
	Seed   uint64
	Once   bool
	Out    string
	Listen string
}

// DefaultDemo is what `make demo` runs.
func DefaultDemo() DemoOptions {
	return DemoOptions{Seed: 1, Out: "demo", Listen: "127.0.0.1:8080"}
}

// The demo's login. It is no secret: the pages are on loopback, and the data is invented.
const (
	demoUser     = "demo"
	demoPassword = "look-around-freely"
)

// demoMark is a file that says that a folder is a demo's, and may be replaced.
const demoMark = ".hostmeter-demo"

// demo is a simulated provider and the process that meters it.
type demo struct {
	options  DemoOptions
	progress io.Writer
	provider *simulate.Provider
	begin    time.Time
	end      time.Time
	clock    *stageClock
	manual   *clock.Manual
	app      *App
}

// RunDemo plays the past weeks of a simulated provider, writes the reports and, unless options.Once
// is set, goes on live until ctx is done. Progress goes to w.
func RunDemo(ctx context.Context, options DemoOptions, w io.Writer) error {
	if err := replaceFolder(options.Out); err != nil {
		return err
	}
	d := &demo{options: options, progress: w}
	d.begin, d.end = simulate.Span()
	d.provider = simulate.New(options.Seed, d.begin, d.end)
	d.manual = clock.NewManual(d.begin)
	d.clock = newStageClock(d.manual)
	logs, err := os.Create(filepath.Join(options.Out, "hostmeter.log"))
	if err != nil {
		return err
	}
	defer logs.Close()
	d.app = New(d.config(), All, d.clock, slog.New(slog.NewTextHandler(logs, nil)))
	d.app.notice = fmt.Sprintf("Simulated data: an invented provider, seed %d, in a simulated time.", options.Seed)
	defer d.app.Close()
	if err := d.app.Open(ctx); err != nil {
		return err
	}
	if err := d.prepare(ctx); err != nil {
		return err
	}
	if options.Once {
		if err := d.past(ctx); err != nil {
			return err
		}
		d.say("The reports are in %s.", options.Out)
		return nil
	}
	return d.show(ctx)
}

// past plays the past weeks and writes the reports.
func (d *demo) past(ctx context.Context) error {
	if err := d.playPast(ctx); err != nil {
		return fmt.Errorf("play the past weeks: %w", err)
	}
	if err := d.writeReports(ctx); err != nil {
		return fmt.Errorf("write the reports: %w", err)
	}
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.progress, format+"\n", args...) }

// replaceFolder makes an empty folder. One that is not a demo's is left alone.
func replaceFolder(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(path, demoMark)); err != nil {
			return wrong(fmt.Errorf("folder %s holds something that is not a demo's", path), "name another folder with --out")
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(path, 0o750); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(path, demoMark), []byte("Made by hostmeter demo, which replaces this folder each time.\n"), 0o600)
}

// config is what an operator of the simulated provider would write.
func (d *demo) config() Config {
	c := DefaultConfig()
	c.Data = filepath.Join(d.options.Out, "data")
	c.Provider = ProviderConfig{Name: "Example Hosting", TimeZone: "Europe/London", Currency: "GBP"}
	c.Collector.ID = "demo"
	c.Collector.UDP = []udp.Config{demoSocket()}
	c.Collector.Local, c.Collector.Assigned = d.provider.Local(), d.provider.Assigned()
	for _, e := range d.provider.Exporters() {
		one := collector.ExporterConfig{Name: e.Name, Mode: e.Mode, ActiveTimeout: e.ActiveTimeout}
		if err := errors.Join(one.Address.UnmarshalText([]byte(e.Address.String())), one.Sampling.UnmarshalText([]byte(e.Sampling))); err != nil {
			panic(err) // the simulator made them
		}
		c.Collector.Exporters = append(c.Collector.Exporters, one)
	}
	c.HTTP.Listen = d.options.Listen
	c.complete()
	return c
}

// demoSocket is where the live phase sends: a port of loopback that the kernel chooses.
func demoSocket() udp.Config {
	return udp.Config{Listen: "127.0.0.1:0"}
}

// prepare imports the provider's inventory and makes the login.
func (d *demo) prepare(ctx context.Context) error {
	path := filepath.Join(d.options.Out, "inventory.yaml")
	if err := os.WriteFile(path, d.provider.Import(), 0o600); err != nil {
		return err
	}
	if _, err := d.app.desk.inventory.Import(ctx, []inventory.File{{Name: path, Text: d.provider.Import()}}, false); err != nil {
		return fmt.Errorf("import the simulated inventory: %w", err)
	}
	return d.app.desk.keeper.AddUser(ctx, "local:demo", demoUser, auth.Admin, demoPassword)
}

// stageClock is the simulated past's clock first, and then one that runs.
type stageClock struct{ current atomic.Pointer[clock.Clock] }

func newStageClock(c clock.Clock) *stageClock {
	s := &stageClock{}
	s.set(c)
	return s
}

func (s *stageClock) set(c clock.Clock) { s.current.Store(&c) }

// Now returns the stage's time.
func (s *stageClock) Now() time.Time { return (*s.current.Load()).Now() }

// Sleep sleeps by the stage's clock.
func (s *stageClock) Sleep(ctx context.Context, d time.Duration) error {
	return (*s.current.Load()).Sleep(ctx, d)
}
