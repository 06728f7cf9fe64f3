package real_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// reloadConfig is a first configuration whose list of exporters is given.
func reloadConfig(dir, flows, listen, exporters string) string {
	return fmt.Sprintf(`data: %s/data
provider: {name: Lab, time_zone: UTC, currency: GBP}
collector:
  id: lab
  udp: [{listen: "%s"}]
  local: [10.50.0.0/16]
  exporters: [%s]
http: {listen: "%s"}
`, dir, flows, exporters, listen)
}

// TestReloadLosesNothing reads the configuration again under load, by signal and by API: a wrong
// file changes nothing, a right one counts from then on, and every datagram is in the ledger.
func TestReloadLosesNothing(t *testing.T) {
	const first, second = `{address: 127.0.1.31, name: first, sampling: none}`, `{address: 127.0.1.32, name: second, sampling: none}`
	dir, listen, flows := t.TempDir(), freePort(t), "127.0.0.1:21440"
	write := func(text string) string { return writeFile(t, dir, "hostmeter.yaml", text) }
	config := write(reloadConfig(dir, flows, listen, first))
	token := adminToken(t, config)
	p := start(t, "run", config)
	ready(t, listen)

	a, b := newSender(t, "127.0.1.31:21441", flows), newSender(t, "127.0.1.32:21442", flows)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		a.send(t, 1200, 200)
	}()
	write(reloadConfig(dir, flows, listen, `{address: here}`))
	if status, body := postReload(t, listen, token); status != http.StatusUnprocessableEntity || !strings.Contains(body, "exporters[0]") {
		t.Errorf("a wrong file: %d %s", status, body)
	}
	write(reloadConfig(dir, flows, listen, first+", "+second))
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() error {
		if n := strings.Count(p.Said.String(), "listening for flows"); n != 2 {
			return fmt.Errorf("the collector has begun %d times", n)
		}
		return nil
	})
	b.send(t, 300, 200)
	ready(t, listen)
	if status, body := postReload(t, listen, token); status != http.StatusOK {
		t.Errorf("a right file: %d %s", status, body)
	}
	b.send(t, 300, 200)
	<-sent
	p.stop()
	want := a.records + b.records
	if octets, packets := totals(t, config); octets != want*recordOctets || packets != want*recordPackets {
		t.Errorf("the ledger has %d octets in %d packets, of %d flows sent", octets, packets, want)
	}
}

// adminToken makes a token of the API.
func adminToken(t *testing.T, config string) string {
	t.Helper()
	return strings.TrimSpace(string(hostmeter(t, "token", "create", "test", "--role", "admin", "-c", config)))
}

// postReload asks the API of a process to read its configuration again.
func postReload(t *testing.T, listen, token string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, "http://"+listen+"/api/v1/reload", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var text json.RawMessage
	_ = json.NewDecoder(response.Body).Decode(&text)
	return response.StatusCode, string(text)
}
