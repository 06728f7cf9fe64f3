package app

import (
	"encoding"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hostmeter.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExampleConfigurationIsGood(t *testing.T) {
	c, err := LoadConfig(write(t, ExampleConfig))
	if err != nil {
		t.Fatal(err)
	}
	if c.Ledger.Store != "sqlite:/var/lib/hostmeter/ledger.db" || c.Log.Path != "/var/lib/hostmeter/log" {
		t.Errorf("store %q and log %q do not lie in the data folder", c.Ledger.Store, c.Log.Path)
	}
	if len(c.Collector.UDP) != 2 || len(c.Collector.Exporters) != 1 || c.Log.Kafka != nil || c.Series.InfluxDB != nil {
		t.Errorf("read %+v", c.Collector)
	}
}

func TestExampleWithEverythingSwitchedOnIsGood(t *testing.T) {
	t.Setenv("HOSTMETER_POSTGRES_DSN", "postgres://u:p@127.0.0.1/db")
	t.Setenv("HOSTMETER_WEBHOOK_SECRET", "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0")
	t.Setenv("INFLUX_TOKEN", "token")
	t.Setenv("WHMCS_IDENTIFIER", "identifier")
	t.Setenv("WHMCS_SECRET", "secret")
	t.Setenv("HOSTMETER_BILLING_SECRET", "secret")
	var lines []string
	ledgers := 0
	for line := range strings.Lines(ExampleConfig) {
		text := strings.TrimPrefix(line, "# ")
		switch {
		case strings.HasPrefix(text, "ledger:") && ledgers == 0:
			ledgers++ // the first of two; the second has the store
			continue
		case strings.HasPrefix(line, "# log:"), strings.HasPrefix(line, "# ledger:"), strings.HasPrefix(line, "# series:"),
			strings.HasPrefix(line, "# handover:"), strings.HasPrefix(line, "#   whmcs:"),
			strings.HasPrefix(line, "# notify:"), strings.HasPrefix(line, "#   alertmanager:"), strings.HasPrefix(line, "#   webhooks:"):
			line = text
		}
		lines = append(lines, line)
	}
	c, err := LoadConfig(write(t, strings.Join(lines, "")))
	if err != nil {
		t.Fatal(err)
	}
	dsn, err := c.store()
	if err != nil || dsn != "postgres://u:p@127.0.0.1/db" {
		t.Errorf("store %q, %v", dsn, err)
	}
	if !c.Handover.WHMCS.Enabled() || len(c.Handover.Webhooks) != 1 || c.Handover.WHMCS.Since.String() != "2026-10-01" {
		t.Errorf("handover %+v", c.Handover)
	}
	if c.Log.Kafka == nil || c.Series.InfluxDB == nil || len(c.Notify.Receivers()) != 2 {
		t.Errorf("kafka %v, influxdb %v, receivers %v", c.Log.Kafka, c.Series.InfluxDB, c.Notify.Receivers())
	}
}

func TestWrongConfigurationsNameTheKey(t *testing.T) {
	f := func(text string, wants ...string) {
		t.Helper()
		_, err := LoadConfig(write(t, text))
		if !errors.Is(err, ErrUsage) {
			t.Fatalf("%q: got %v, want an error of usage", text, err)
		}
		var hinted *HintError
		if !errors.As(err, &hinted) || hinted.Hint == "" {
			t.Fatalf("%q: no hint with %v", text, err)
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Fatalf("%q: error %q does not say %q", text, err, want)
			}
		}
	}
	f("collector: {udp: [{listen: \"0.0.0.0\"}], local: [192.0.2.0/24], exporters: [{address: 192.0.2.1}]}", "collector.udp[0].listen", "port")
	f("collecter: {}", "collecter", "[1:1]")
	f("provider: {time_zone: Europe/Londonn}", "provider.time_zone", "Londonn")
	f("ledger: {settle: -1h}", "ledger.settle")
	f("log: {segment_size: 12}", "log.segment_size")
	f("series: {influxdb: {url: \"http://x\"}}", "series.influxdb.bucket")
	whmcs := func(more string) string {
		return "handover: {whmcs: {url: \"http://x\", identifier: a, secret: b, " + more + "}}"
	}
	f(whmcs(""), "handover.whmcs.since", "billed by other means")
	f(whmcs("since: 2026-13-01"), "handover.whmcs.since")
	f(whmcs("since: 2026-10-01, credits: give"), "handover.whmcs.credits", "park, credit or item")
	f(whmcs("since: 2026-10-01, invoice_action: recur"), "handover.whmcs.invoice_action")
	f(whmcs("since: 2026-10-01, clients: {ada: 0}"), "handover.whmcs.clients", "ada")
	f("handover: {whmcs: {url: billing}}", "handover.whmcs.url")
	f("handover: {webhooks: [{name: whmcs, url: \"http://x\", secrets: [a]}]}", "handover.webhooks[0].name", "taken")
	f("handover: {webhooks: [{name: b, url: \"http://x\", secrets: []}]}", "handover.webhooks[0].secrets")
	f("handover: {webhooks: [{name: b, url: \"http://x\", secrets: [a], feeds: [all]}]}", "handover.webhooks[0].feeds[0]")
}

func TestMissingConfigurationSaysWhatToDo(t *testing.T) {
	_, err := LoadConfig(filepath.Join(t.TempDir(), "none.yaml"))
	var hinted *HintError
	if !errors.As(err, &hinted) || !strings.Contains(hinted.Hint, "config example") {
		t.Fatalf("got %v", err)
	}
}

// keysOf lists the keys of a configuration as the reference writes them: collector.udp[].listen.
func keysOf(t reflect.Type, prefix string) (keys []string) {
	switch {
	case t.Kind() == reflect.Pointer:
		return keysOf(t.Elem(), prefix)
	case t.Kind() == reflect.Slice:
		return keysOf(t.Elem(), prefix+"[]")
	case t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		for i := range t.NumField() {
			name, option, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
			switch {
			case option == "inline":
				keys = append(keys, keysOf(t.Field(i).Type, prefix)...)
			case prefix == "":
				keys = append(keys, keysOf(t.Field(i).Type, name)...)
			default:
				keys = append(keys, keysOf(t.Field(i).Type, prefix+"."+name)...)
			}
		}
		return keys
	}
	return []string{prefix}
}

func TestTheReferenceListsEveryKey(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, match := range regexp.MustCompile("(?m)^\\| `([a-z_.\\[\\]]+)` ").FindAllStringSubmatch(string(text), -1) {
		listed[match[1]] = true
	}
	for _, key := range keysOf(reflect.TypeFor[Config](), "") {
		if !listed[key] {
			t.Errorf("%s is not in docs/reference/configuration.md", key)
		}
		delete(listed, key)
	}
	for key := range listed {
		t.Errorf("docs/reference/configuration.md lists %s, which is no key", key)
	}
}
