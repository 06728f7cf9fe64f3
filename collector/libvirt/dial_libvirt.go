//go:build cgo && linux && (libvirt_dlopen || libvirt_linked)

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"libvirt.org/go/libvirt"

	"hostmeter/schemas"
)

// Supported says why this build cannot poll; nil here. Whether libvirt.so.0 is on the machine shows
// at the first connection, as an ordinary error.
func Supported() error { return nil }

const (
	// A hung daemon is given up after keepAliveEvery times keepAliveCount and a little.
	keepAliveEvery = 5 // seconds
	keepAliveCount = 3
	// xmlAge bounds how long a MAC address is believed when no event tells of a change.
	xmlAge = 5 * time.Minute
	// xmlDeadline bounds how long one guest's XML can hold up the others.
	xmlDeadline = 2 * time.Second
)

const (
	// sparingStats are known to the daemon and the kernel; a guest's monitor has to tell the others.
	sparingStats = libvirt.DOMAIN_STATS_STATE | libvirt.DOMAIN_STATS_INTERFACE
	wantedStats  = sparingStats | libvirt.DOMAIN_STATS_CPU_TOTAL | libvirt.DOMAIN_STATS_VCPU
	// NOWAIT leaves out what a guest's hung monitor would have to tell, and tells the rest.
	statsFlags = libvirt.CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
)

// startEventLoop must have run before the first connection is made: keepalive and callbacks need it.
var startEventLoop = sync.OnceValue(func() error {
	if err := libvirt.EventRegisterDefaultImpl(); err != nil {
		return fmt.Errorf("start libvirt's event loop: %w", err)
	}
	go func() {
		for {
			if err := libvirt.EventRunDefaultImpl(); err != nil {
				time.Sleep(time.Second) // it goes on; without it keepalive would be blind
			}
		}
	}()
	return nil
})

type session struct {
	conn      *libvirt.Connect
	logger    *slog.Logger
	xmls      chan struct{} // tokens of calls for XML that may hang
	calls     sync.WaitGroup
	callbacks []int
	changes   chan struct{} // holds one

	mu     sync.Mutex
	guests map[string]*targets // by UUID
}

// targets is what the XML of a guest said of its interfaces.
type targets struct {
	process uint32 // another one has other interfaces
	names   []string
	macs    map[string]string
	read    time.Time
}

func dial(uri string, logger *slog.Logger) (connection, error) {
	if err := startEventLoop(); err != nil {
		return nil, err
	}
	conn, err := libvirt.NewConnectReadOnly(uri)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, logger: logger, xmls: make(chan struct{}, hungMost), changes: make(chan struct{}, 1), guests: map[string]*targets{}}
	if err := conn.SetKeepAlive(keepAliveEvery, keepAliveCount); err != nil {
		logger.Warn("the hypervisor does not answer keepalives: a hang will be seen late", "err", err)
	}
	s.listen()
	return s, nil
}

// listen registers for what shortens a gap in the counters or makes what is known of a guest's
// interfaces old. Drivers without events work too: names, process ids and age find changes then.
func (s *session) listen() {
	keep := func(id int, err error) {
		if err == nil {
			s.callbacks = append(s.callbacks, id)
		}
	}
	keep(s.conn.DomainEventDeviceAddedRegister(nil, func(_ *libvirt.Connect, d *libvirt.Domain, _ *libvirt.DomainEventDeviceAdded) { s.change(d) }))
	keep(s.conn.DomainEventDeviceRemovedRegister(nil, func(_ *libvirt.Connect, d *libvirt.Domain, _ *libvirt.DomainEventDeviceRemoved) { s.change(d) }))
	keep(s.conn.DomainEventLifecycleRegister(nil, func(_ *libvirt.Connect, d *libvirt.Domain, _ *libvirt.DomainEventLifecycle) { s.change(d) }))
	_ = s.conn.RegisterCloseCallback(func(*libvirt.Connect, libvirt.ConnectCloseReason) { s.wake() })
}

// close lets go of the connection once no call is under way on it: libvirt frees it, whoever may
// still use it. A callback that stays registered would keep it open for ever.
func (s *session) close() {
	go func() {
		s.calls.Wait()
		for _, id := range s.callbacks {
			_ = s.conn.DomainEventDeregister(id)
		}
		_ = s.conn.UnregisterCloseCallback()
		_, _ = s.conn.Close()
	}()
}

func (s *session) changed() <-chan struct{} { return s.changes }

func (s *session) wake() {
	select {
	case s.changes <- struct{}{}:
	default:
	}
}

func (s *session) change(d *libvirt.Domain) {
	if uuid, err := d.GetUUIDString(); err == nil {
		s.mu.Lock()
		delete(s.guests, uuid)
		s.mu.Unlock()
	}
	s.wake()
}

func (s *session) readings(what extent) ([]schemas.GuestReading, error) {
	s.calls.Add(1)
	defer s.calls.Done()
	wanted := wantedStats
	if what == withoutMonitors {
		wanted = sparingStats
	}
	all, err := s.conn.GetAllDomainStats(nil, wanted, statsFlags)
	if err != nil {
		return nil, err
	}
	readings := make([]schemas.GuestReading, 0, len(all))
	listed := make(map[string]bool, len(all))
	for i := range all {
		r, err := s.reading(&all[i])
		if err == nil {
			readings = append(readings, r)
			listed[r.UUID] = true
		}
	}
	s.keepOnly(listed)
	return readings, nil
}

func (s *session) keepOnly(listed map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for uuid := range s.guests {
		if !listed[uuid] {
			delete(s.guests, uuid)
		}
	}
}

// reading takes over, and frees, the domain of stats.
func (s *session) reading(stats *libvirt.DomainStats) (schemas.GuestReading, error) {
	domain := stats.Domain
	uuid, err := domain.GetUUIDString()
	if err != nil {
		_ = domain.Free()
		return schemas.GuestReading{}, err
	}
	name, _ := domain.GetName() // known to the client, no call
	r := schemas.GuestReading{UUID: uuid, Name: name, State: stateOf(stats.State)}
	if r.State != schemas.GuestState_GUEST_STATE_RUNNING && r.State != schemas.GuestState_GUEST_STATE_PAUSED {
		_ = domain.Free()
		return r, nil
	}
	if id, err := domain.GetID(); err == nil { // known to the client, no call
		r.Process = uint32(id)
	}
	r.Moving, r.Arrived = migrationOf(stats.State)
	for _, v := range stats.Vcpu {
		if v.StateSet && v.State != libvirt.VCPU_OFFLINE {
			r.VCPUs++
			r.StealNanoseconds += v.Delay
		}
	}
	switch {
	case stats.Cpu != nil && stats.Cpu.TimeSet && r.VCPUs > 0:
		r.CPUKnown, r.CPUNanoseconds = true, stats.Cpu.Time
	default: // its monitor hangs or is busy, or is not to be asked: the kernel knows its CPU time
		r.StealUnknown = true
		if info, err := domain.GetInfo(); err == nil && info.NrVirtCpu > 0 {
			r.CPUKnown, r.CPUNanoseconds, r.VCPUs = true, info.CpuTime, uint32(info.NrVirtCpu)
		}
	}
	r.VNICs = s.vnics(domain, uuid, r.Process, stats.Net)
	return r, nil
}

// vnics takes over, and frees, the domain. An interface whose MAC cannot be learnt now is left out,
// and its next reading has what it carried.
func (s *session) vnics(domain *libvirt.Domain, uuid string, process uint32, nets []libvirt.DomainStatsNet) []schemas.VNICReading {
	var names []string
	for _, n := range nets {
		names = append(names, n.Name)
	}
	if len(names) == 0 {
		_ = domain.Free()
		return nil
	}
	macs := s.macs(domain, uuid, process, names)
	var out []schemas.VNICReading
	for _, n := range nets {
		mac := macs[n.Name]
		if mac == "" || !n.RxBytesSet || !n.TxBytesSet {
			continue
		}
		out = append(out, schemas.VNICReading{
			MAC: mac, Target: n.Name,
			InOctets: n.RxBytes, InPackets: n.RxPkts, OutOctets: n.TxBytes, OutPackets: n.TxPkts,
		})
	}
	return out
}

func (s *session) macs(domain *libvirt.Domain, uuid string, process uint32, names []string) map[string]string {
	s.mu.Lock()
	known := s.guests[uuid]
	s.mu.Unlock()
	if known != nil && known.process == process && slices.Equal(known.names, names) && time.Since(known.read) < xmlAge {
		_ = domain.Free()
		return known.macs
	}
	s.calls.Add(1)
	text, err := withDeadline(context.Background(), s.xmls, xmlDeadline, func() (string, error) {
		defer s.calls.Done()
		defer func() { _ = domain.Free() }()
		return domain.GetXMLDesc(0)
	}, nil)
	if errors.Is(err, errHanging) { // nothing was called
		s.calls.Done()
		_ = domain.Free()
	}
	if err == nil {
		var macs map[string]string
		if macs, err = targetsOf(text); err == nil {
			s.mu.Lock()
			s.guests[uuid] = &targets{process: process, names: names, macs: macs, read: time.Now()}
			s.mu.Unlock()
			return macs
		}
	}
	s.logger.Warn("a guest's interfaces cannot be told apart now", "meter", string(schemas.GuestMeter(uuid)), "err", err)
	if known != nil && known.process == process && slices.Equal(known.names, names) {
		return known.macs // older than it should be, and nothing says that it changed
	}
	return nil
}

// migrationOf says whether a guest that is on waits for its migration to end, and whether it came by one.
func migrationOf(s *libvirt.DomainStatsState) (moving, arrived bool) {
	if s == nil || !s.ReasonSet {
		return false, false
	}
	switch s.State {
	case libvirt.DOMAIN_PAUSED:
		reason := libvirt.DomainPausedReason(s.Reason)
		return reason == libvirt.DOMAIN_PAUSED_MIGRATION || reason == libvirt.DOMAIN_PAUSED_POSTCOPY, false
	case libvirt.DOMAIN_RUNNING:
		reason := libvirt.DomainRunningReason(s.Reason)
		return false, reason == libvirt.DOMAIN_RUNNING_MIGRATED || reason == libvirt.DOMAIN_RUNNING_POSTCOPY
	}
	return false, false
}

func stateOf(s *libvirt.DomainStatsState) schemas.GuestState {
	if s == nil || !s.StateSet {
		return schemas.GuestState_GUEST_STATE_UNSPECIFIED
	}
	switch s.State {
	case libvirt.DOMAIN_RUNNING, libvirt.DOMAIN_BLOCKED, libvirt.DOMAIN_SHUTDOWN: // shutting down still runs
		return schemas.GuestState_GUEST_STATE_RUNNING
	case libvirt.DOMAIN_PAUSED, libvirt.DOMAIN_PMSUSPENDED:
		// A process that waits to begin, as it does while it receives a guest from another host, is
		// not the guest yet.
		if s.State == libvirt.DOMAIN_PAUSED && s.ReasonSet && libvirt.DomainPausedReason(s.Reason) == libvirt.DOMAIN_PAUSED_STARTING_UP {
			return schemas.GuestState_GUEST_STATE_OFF
		}
		return schemas.GuestState_GUEST_STATE_PAUSED
	case libvirt.DOMAIN_SHUTOFF:
		return schemas.GuestState_GUEST_STATE_OFF
	case libvirt.DOMAIN_CRASHED:
		return schemas.GuestState_GUEST_STATE_CRASHED
	}
	return schemas.GuestState_GUEST_STATE_UNSPECIFIED
}
