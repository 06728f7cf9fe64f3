//go:build cgo && linux && (libvirt_dlopen || libvirt_linked)

package libvirt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// relay stands for the network between the collector and a daemon, on loopback. It can cut all
// connections, and go silent without closing any.
type relay struct {
	listener net.Listener
	socket   string
	hello    []byte
	silent   atomic.Bool
	accepted atomic.Int32

	mu    sync.Mutex
	conns []net.Conn
}

// newRelay forwards to the lab's daemon what comes over TCP, or over TLS if cfg is set: its socket
// speaks the same protocol, and a TLS server begins with one octet that says that the client may in.
func newRelay(t *testing.T, cfg *tls.Config) *relay {
	t.Helper()
	_, socket, _ := strings.Cut(realURI(t), "socket=")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, socket: socket}
	if cfg != nil {
		r.listener, r.hello = tls.NewListener(listener, cfg), []byte{1}
	}
	t.Cleanup(func() { _ = r.listener.Close(); r.cut() })
	go func() {
		for {
			client, err := r.listener.Accept()
			if err != nil {
				return
			}
			r.accepted.Add(1)
			go r.join(client)
		}
	}()
	return r
}

func (r *relay) port() string {
	_, port, _ := net.SplitHostPort(r.listener.Addr().String())
	return port
}

func (r *relay) join(client net.Conn) {
	daemon, err := net.Dial("unix", r.socket)
	if err == nil {
		_, err = client.Write(r.hello)
	}
	if err != nil {
		_ = client.Close()
		return
	}
	r.mu.Lock()
	r.conns = append(r.conns, client, daemon)
	r.mu.Unlock()
	forward := func(to, from net.Conn) {
		defer func() { _, _ = to.Close(), from.Close() }()
		buffer := make([]byte, 65536)
		for {
			n, err := from.Read(buffer)
			for r.silent.Load() {
				time.Sleep(10 * time.Millisecond)
			}
			if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
				return
			}
		}
	}
	go forward(client, daemon)
	forward(daemon, client)
}

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
}

// certificates writes a CA and a client's certificate where libvirt looks for them, and returns the
// server's side, which asks for the client's.
func certificates(t *testing.T, dir string) *tls.Config {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var authority *x509.Certificate
	var authorityKey *ecdsa.PrivateKey
	sign := func(number int64, name string) (certPEM, keyPEM []byte) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		cert := &x509.Certificate{
			SerialNumber: big.NewInt(number), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}
		if authority == nil {
			cert.IsCA, cert.BasicConstraintsValid, cert.KeyUsage, cert.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
			authority, authorityKey = cert, key
		}
		der, err := x509.CreateCertificate(rand.Reader, cert, authority, &key.PublicKey, authorityKey)
		must(err)
		if cert.IsCA {
			authority, err = x509.ParseCertificate(der)
			must(err)
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
		must(err)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	}
	ca, _ := sign(1, "lab")
	client, clientKey := sign(2, "collector")
	server, serverKey := sign(3, "localhost")
	for name, data := range map[string][]byte{"cacert.pem": ca, "clientcert.pem": client, "clientkey.pem": clientKey} {
		must(os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	pair, err := tls.X509KeyPair(server, serverKey)
	must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{SessionTicketsDisabled: true, Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

// TestRealRemoteHosts polls by TCP and by TLS over a network that breaks: one connection is cut, one
// goes silent. Both come back by themselves, and what the guest sent meanwhile is billed once.
func TestRealRemoteHosts(t *testing.T) {
	realURI(t)
	dir := t.TempDir()
	plain, secret := newRelay(t, nil), newRelay(t, certificates(t, dir))
	var failures [2]atomic.Int32
	hosts := []<-chan poll{
		watchHost(t, Config{Name: "hv-tcp", URI: "qemu+tcp://127.0.0.1:" + plain.port() + "/system", Every: time.Second},
			Deps{Failed: func(error) { failures[0].Add(1) }}),
		watchHost(t, Config{Name: "hv-tls", URI: "qemu+tls://localhost:" + secret.port() + "/system?pkipath=" + dir, Every: time.Second},
			Deps{Failed: func(error) { failures[1].Add(1) }}),
	}
	books := []*book{newBook(), newBook()}
	var begin, sent [2]uint64
	for i, polls := range hosts {
		first := next(t, polls)
		begin[i] = first.guests["talk1"].VNICs[0].OutOctets
	}
	plain.cut()
	secret.silent.Store(true)
	for connections := plain.accepted.Load(); plain.accepted.Load() == connections; {
		books[0].add(next(t, hosts[0]))
	}
	connections := secret.accepted.Load()
	eventually(t, "asked on another connection", func() bool { return secret.accepted.Load() > connections })
	secret.silent.Store(false)
	virsh(t, "suspend", "talk1")
	defer virsh(t, "resume", "talk1")
	for i, polls := range hosts {
		books[i].until(t, polls, "talk1 paused", func(p poll) bool { return p.guests["talk1"].State == paused && len(p.vnics) == 0 })
		sent[i] = books[i].vnics["vnic:00000000-0000-4000-8000-000000000004/52:54:00:00:00:04"].OutOctets
		if want := tapCounter(t, "talk1-0", "rx_bytes") - begin[i]; sent[i] != want || want == 0 {
			t.Errorf("host %d billed %d octets, the tap counted %d", i, sent[i], want)
		}
		if b := books[i].sum; b.Resets+b.Restarted+b.Stopped != 0 {
			t.Errorf("host %d: %+v", i, b)
		}
	}
	t.Logf("TCP: %d connections, %d failures; TLS: %d and %d; billed %d and %d octets", plain.accepted.Load(), failures[0].Load(), secret.accepted.Load(), failures[1].Load(), sent[0], sent[1])
}

// TestRealDaemonRestart stops the daemon for a while, then hangs it: the guests live on, their counters
// too, and what they used meanwhile is billed once, spread over the gap.
func TestRealDaemonRestart(t *testing.T) {
	realURI(t)
	var failures atomic.Int32
	polls := watchHost(t, Config{Name: "hv1", URI: realURI(t), Every: time.Second}, Deps{Failed: func(error) { failures.Add(1) }})
	b := newBook()
	first := next(t, polls)
	b.until(t, polls, "polled", func(poll) bool { return true })
	lab(t, "kill-daemon")
	eventually(t, "declared as unreachable", func() bool { return failures.Load() >= 2 })
	lab(t, "start-daemon")
	var gap time.Duration
	b.until(t, polls, "read again", func(p poll) bool {
		u := p.usage["spin1"]
		if u != nil {
			gap = max(gap, time.Duration(u.To-u.From))
		}
		return failures.Load() >= 2 && u != nil
	})
	daemon := pidOf(t, "libvirtd.pid")
	if err := syscall.Kill(daemon, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	before := failures.Load()
	resume := sync.OnceFunc(func() { _ = syscall.Kill(daemon, syscall.SIGCONT) })
	t.Cleanup(resume)
	eventually(t, "missed while it hangs", func() bool { return failures.Load() > before })
	resume()
	b.until(t, polls, "read after the hang", func(p poll) bool { return p.usage["spin1"] != nil })
	virsh(t, "suspend", "talk1")
	defer virsh(t, "resume", "talk1")
	last := b.until(t, polls, "talk1 paused", func(p poll) bool { return p.guests["talk1"].State == paused && len(p.vnics) == 0 })
	sent := b.vnics["vnic:00000000-0000-4000-8000-000000000004/52:54:00:00:00:04"].OutOctets
	if want := tapCounter(t, "talk1-0", "rx_bytes") - first.guests["talk1"].VNICs[0].OutOctets; sent != want || want == 0 {
		t.Errorf("billed %d octets, the tap counted %d", sent, want)
	}
	if b.sum.Resets+b.sum.Restarted+b.sum.Stopped != 0 {
		t.Errorf("%+v, want nothing that ended or began", b.sum)
	}
	elapsed := last.at.Sub(first.at)
	if b.capacity["spin1"] != elapsed {
		t.Errorf("spin1 had %v, between polls %v apart", b.capacity["spin1"], elapsed)
	}
	if share := float64(b.cpu["spin1"]+b.steal["spin1"]) / float64(elapsed); share < 0.90 || share > 1.10 {
		t.Errorf("spin1 ran or waited for %.2f of %v, want all of it", share, elapsed)
	}
	t.Logf("%d failures, a gap of %v bridged; billed %d octets in %v", failures.Load(), gap.Round(time.Millisecond), sent, elapsed.Round(time.Second))
}

// TestRealConnectionsEnd makes and drops connections: none stays open at the daemon.
func TestRealConnectionsEnd(t *testing.T) {
	r := newRelay(t, nil)
	for range 10 {
		conn, err := dial("qemu+tcp://127.0.0.1:"+r.port()+"/system", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.readings(everything); err != nil {
			t.Fatal(err)
		}
		conn.close()
	}
	r.mu.Lock()
	conns := r.conns
	r.mu.Unlock()
	eventually(t, "closed at both ends", func() bool {
		open := 0
		for _, c := range conns {
			if err := c.SetDeadline(time.Time{}); err == nil { // a closed one refuses it
				open++
			}
		}
		return open == 0
	})
}
