package kafka

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The real broker is killed while batches are forwarded and read, and started again: nothing is
// missing. It needs the folder of a broker that deploy/testbed/kafka-up.sh started.
func TestBrokerIsKilled(t *testing.T) {
	data := os.Getenv("HOSTMETER_TEST_KAFKA_DATA")
	if data == "" {
		t.Skip("NOT TESTED WITH A KILLED BROKER: HOSTMETER_TEST_KAFKA_DATA does not name the folder of kafka-up.sh")
	}
	broker := realBroker(t)
	_, port, _ := strings.Cut(broker, ":")
	g := newRig(t, testConfig(t, broker))
	appendGroups(t, g, 1, 50)
	r := open(t, g, nil)
	r.Read(t, 4*20)

	text, err := os.ReadFile(filepath.Join(data, "broker.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	appended := make(chan struct{})
	go func() {
		defer close(appended)
		appendGroups(t, g, 51, 400)
	}()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-appended // the log on disk goes on taking batches
	out, err := exec.Command(filepath.Join("..", "..", "..", "deploy", "testbed", "kafka-up.sh"), data, port).CombinedOutput()
	if err != nil {
		t.Fatalf("start the broker again: %v\n%s", err, out)
	}
	r.Read(t, 4*380)
	wantComplete(t, r, 400)
	fresh := open(t, g, nil)
	fresh.Read(t, 4*400)
	wantComplete(t, fresh, 400)
}
