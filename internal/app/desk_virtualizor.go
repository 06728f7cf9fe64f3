package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/config"
	"hostmeter/internal/inventory/virtualizor"
	"hostmeter/internal/webhook"
)

// VirtualizorOptions are those of the command.
type VirtualizorOptions struct {
	URL, Key, Pass, CA                                  string
	Prefix, Unit, Place, Currency, Class, Period, Block string
	Since                                               string
	MayClose                                            int
}

// DefaultVirtualizor returns the options of an ordinary Virtualizor.
func DefaultVirtualizor() VirtualizorOptions {
	o := virtualizor.DefaultOptions()
	return VirtualizorOptions{Key: "env:VIRTUALIZOR_KEY", Pass: "env:VIRTUALIZOR_PASS", Prefix: o.Prefix, Unit: string(o.Unit), Class: o.Class, Period: o.Period, Block: o.Block, MayClose: o.MayClose}
}

const virtualizorTimeout = 2 * time.Minute // of one page

// Virtualizor writes an import file of what a Virtualizor has to w, and remarks to notes.
func (d *Desk) Virtualizor(ctx context.Context, o VirtualizorOptions, w, notes io.Writer) error {
	client, options, err := o.parse(ctx, d)
	if err != nil {
		return wrong(err, `"hostmeter virtualizor --help" lists the options`)
	}
	state, err := client.Read(ctx)
	if err != nil {
		return &HintError{Err: fmt.Errorf("read %s: %w", o.URL, err), Hint: "nothing was written; the admin API listens on port 4085, and its credentials are those of an administrator"}
	}
	snapshot, err := d.inventory.Snapshot(ctx)
	if err != nil {
		return err
	}
	rows, remarks, err := virtualizor.Rows(state, snapshot, options, d.clock.Now())
	if errors.Is(err, virtualizor.ErrManyGone) {
		return &HintError{Err: err, Hint: "is this the whole Virtualizor? Where it is right, --may-close N"}
	}
	if err != nil {
		return &HintError{Err: err, Hint: "nothing was written"}
	}
	for _, remark := range remarks {
		fmt.Fprintln(notes, "hostmeter: note:", remark)
	}
	fmt.Fprintf(w, "# What %s has: %d virtual servers. Look at it with \"hostmeter import --dry-run\".\n", o.URL, len(state.Servers))
	_, err = w.Write(virtualizor.YAML(rows))
	return err
}

func (o VirtualizorOptions) parse(ctx context.Context, d *Desk) (*virtualizor.Client, virtualizor.Options, error) {
	options := virtualizor.Options{Prefix: o.Prefix, Place: o.Place, Currency: o.Currency, Class: o.Class, Period: o.Period, Block: o.Block, MayClose: o.MayClose}
	if err := webhook.CheckURL(o.URL); err != nil {
		return nil, options, fmt.Errorf("--url: %w", err)
	}
	if o.Prefix == "" {
		return nil, options, errors.New("--prefix: missing: without it every service with a number would count as the Virtualizor's")
	}
	var err error
	if options.Unit, err = rating.ParseUnit(o.Unit); err != nil || options.Unit != rating.GB && options.Unit != rating.GiB {
		return nil, options, fmt.Errorf("--unit %q: want GB or GiB", o.Unit)
	}
	if o.Since != "" {
		day, err := rating.ParseDate(o.Since)
		if err != nil {
			return nil, options, fmt.Errorf("--since: %w", err)
		}
		zone, err := d.zone(ctx)
		if err != nil {
			return nil, options, err
		}
		options.Since = time.Date(day.Year, day.Month, day.Day, 0, 0, 0, 0, zone)
	}
	var key, pass config.Secret
	if err := key.UnmarshalText([]byte(o.Key)); err != nil {
		return nil, options, fmt.Errorf("--key: %w", err)
	}
	if err := pass.UnmarshalText([]byte(o.Pass)); err != nil {
		return nil, options, fmt.Errorf("--pass: %w", err)
	}
	client := &virtualizor.Client{URL: o.URL, Key: key.Reveal(), Pass: pass.Reveal(), HTTP: webhook.Client(virtualizorTimeout)}
	if o.CA != "" {
		if client.HTTP.Transport, err = trusting(o.CA); err != nil {
			return nil, options, fmt.Errorf("--ca: %w", err)
		}
	}
	return client, options, nil
}

// trusting returns a transport that trusts the authorities of a file alone: a Virtualizor's certificate is
// often its own.
func trusting(path string) (*http.Transport, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate in PEM", path)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	return transport, nil
}
