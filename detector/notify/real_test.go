package notify_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"hostmeter/detector/incident"
	"hostmeter/detector/notify"
	"hostmeter/internal/clock"
	"hostmeter/internal/store/storetest"
)

// TestRealAlertmanager tells a real Alertmanager of an incident and its end. The server is the program
// prometheus-alertmanager in PATH, or what HOSTMETER_TEST_ALERTMANAGER names.
func TestRealAlertmanager(t *testing.T) {
	program := os.Getenv("HOSTMETER_TEST_ALERTMANAGER")
	if program == "" {
		program = "prometheus-alertmanager"
	}
	program, err := exec.LookPath(program)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("prometheus-alertmanager is not installed: run the tests by `make test`, which installs it")
	}
	if err != nil {
		t.Skip("NOT TESTED AGAINST A REAL ALERTMANAGER: prometheus-alertmanager is not installed, and HOSTMETER_TEST_ALERTMANAGER is not set")
	}
	url := startAlertmanager(t, program)
	cfg := notify.Config{}
	cfg.Alertmanager = []notify.AlertmanagerConfig{{URL: url}}
	db := storetest.SQLite(t, clock.Real{})
	incidents := incident.New(db, cfg.Receivers()...)
	sender, err := notify.New(cfg, notify.Deps{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	id := open(t, db, incidents)
	send(t, sender)
	if got := alerts(t, url); len(got) != 1 || got[0].Labels["incident"] != id || got[0].Status.State == "" {
		t.Fatalf("alerts %+v, want the incident %s", got, id)
	}
	if _, err := incidents.Resolve(context.Background(), id, "user:ada", ""); err != nil {
		t.Fatal(err)
	}
	send(t, sender)
	deadline := time.Now().Add(20 * time.Second)
	for len(alerts(t, url)) > 0 { // it hides what ended once its own loop has seen it
		if time.Now().After(deadline) {
			t.Fatalf("after the end it still has %+v", alerts(t, url))
		}
		if err := (clock.Real{}).Sleep(context.Background(), 100*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

func startAlertmanager(t *testing.T, program string) (url string) {
	t.Helper()
	folder := t.TempDir()
	file := filepath.Join(folder, "alertmanager.yml")
	if err := os.WriteFile(file, []byte("route: {receiver: none}\nreceivers: [{name: none}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close() // its number is wanted
	server := exec.Command(program, "--config.file="+file, "--storage.path="+folder, "--web.listen-address="+address, "--cluster.listen-address=")
	out, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); { // read, so that it never waits
		}
	}()
	url = "http://" + address
	for range 200 {
		if answer, err := http.Get(url + "/-/ready"); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return url
			}
		}
		if err := (clock.Real{}).Sleep(context.Background(), 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("Alertmanager did not become ready in 10 s")
	return ""
}

type alertStatus struct {
	Labels map[string]string
	Status struct{ State string }
}

func alerts(t *testing.T, url string) (list []alertStatus) {
	t.Helper()
	answer, err := http.Get(fmt.Sprintf("%s/api/v2/alerts", url))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	return list
}
