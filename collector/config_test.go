package collector_test

import (
	"strings"
	"testing"
	"time"

	"hostmeter/collector"
	yaml "hostmeter/internal/config"
)

func TestConfigIsReadAsWritten(t *testing.T) {
	cfg := collector.DefaultConfig()
	err := yaml.Decode([]byte(`
id: collector-1
shards: 16
udp: [{listen: "0.0.0.0:2055", receive_buffer: 32 MiB}, {listen: "[::]:6343"}]
local: [192.0.2.0/24, "2001:db8::/32"]
assigned: ["2001:db8:7::/48"]
exporters:
  - {address: 192.0.2.250, name: edge-1, mode: edge, sampling: auto, sampling_default: 1, active_timeout: 60s, customer_interfaces: [3, 4]}
  - {address: 198.51.100.0/24, sampling: 1024}
  - {address: "2001:db8::1", sampling: none}
silence: 15m
flush: {busy: 500ms, idle: 10s}
libvirt: [{name: hv1, uri: "qemu:///system", every: 10s}]
`), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	e := cfg.Exporters
	if e[0].Address.String() != "192.0.2.250" || e[0].CustomerInterfaces[1] != 4 || e[0].ActiveTimeout != time.Minute ||
		e[1].Sampling != 1024 || e[1].Address.Bits() != 24 || e[2].Sampling != collector.SamplingNone ||
		cfg.UDP[0].ReceiveBuffer != 32<<20 || len(cfg.Local) != 2 || cfg.Libvirt[0].Every != 10*time.Second {
		t.Fatalf("%+v", cfg)
	}
}

func TestConfigErrorsNameTheKey(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		cfg := collector.DefaultConfig()
		err := yaml.Decode([]byte(text), &cfg)
		if err == nil {
			err = cfg.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%s\nerror %v, want %q", text, err, want)
		}
	}
	base := "local: [192.0.2.0/24]\n"
	f("id: a/b", "id:")
	f("shards: 0", "shards: 0 is not")
	f("silence: 1s", "silence:")
	f("flush: {busy: 1ms}", "flush.busy: 1ms")
	f("flush: {idle: 5m}", "flush.idle: 5m")
	f(base+`exporters: [{address: 192.0.2.1}]
udp: [{listen: "0.0.0.0"}]`, "udp[0].listen: missing port")
	f(base+`udp: [{listen: ":2055"}]`, "exporters: none is allowed")
	f("exporters: [{address: 192.0.2.1}]", "local: no prefix")
	f("local: [192.0.2.1/24]", "did you mean 192.0.2.0/24")
	f("local: [192.0.2.1]", "192.0.2.1")
	f("assigned: [192.0.2.0/30]", "assigned[0]")
	f("classes: [{remote: [192.0.2.0/24]}]", "classes[0].name: missing")
	f("classes: [{name: internal, remote: [192.0.2.0/24]}]", `classes[0].name: "internal" has a meaning of its own`)
	f("classes: [{name: Back Up, remote: [192.0.2.0/24]}]", `classes[0].name: "Back Up": want up to 32`)
	f("classes: [{name: backup}]", "classes[0].remote: no prefix")
	f("classes: [{name: backup, remote: [192.0.2.1/24]}]", "classes[0].remote[0]: 192.0.2.1/24 has host bits")
	f("classes: [{name: backup, remote: [192.0.2.0/24]}, {name: backup, remote: [192.0.3.0/24]}]", `classes[1].name: "backup" stands there already`)
	f("classes: [{name: backup, remote: [192.0.2.0/24]}, {name: peering, remote: [192.0.2.0/24]}]", "classes[1].remote[0]: 192.0.2.0/24 is in class backup already")
	f(base+"exporters: [{name: edge-1}]", "exporters[0].address: missing")
	f(base+"exporters: [{address: edge-1}]", "edge-1")
	f(base+"exporters: [{address: 192.0.2.7/24}]", "did you mean 192.0.2.0/24")
	f(base+"exporters: [{address: 192.0.2.1}, {address: 192.0.2.1/32}]", "exporters[1].address: 192.0.2.1 stands in exporters[0]")
	f(base+"exporters: [{address: 192.0.2.1, mode: core}]", "exporters[0].mode: \"core\"")
	f(base+"exporters: [{address: 192.0.2.1, sampling: often}]", "sampling \"often\"")
	f(base+"exporters: [{address: 192.0.2.1, sampling: 0}]", "sampling \"0\"")
	f(base+"exporters: [{address: 192.0.2.1, sampling: 10, sampling_default: 10}]", "exporters[0].sampling_default")
	f(base+"exporters: [{address: 192.0.2.1, customer_interfaces: [1]}]", "exporters[0].customer_interfaces")
	f(base+"exporters: [{address: 192.0.2.1, active_timeout: 2h}]", "exporters[0].active_timeout")
	f(base+"exporters: [{address: 192.0.2.1, datagrams_per_second: 200000000}]", "exporters[0].datagrams_per_second")
	f("libvirt: [{uri: \"qemu:///system\"}]", "libvirt[0].name: missing")
	f("libvirt: [{name: hv1}]", "libvirt[0].uri: missing")
	f("libvirt: [{name: hv1, uri: host1}]", "libvirt[0].uri: \"host1\"")
	f("libvirt: [{name: hv1, uri: \"qemu:///system\", every: 10ms}]", "libvirt[0].every")
	f("libvirt: [{name: hv1, uri: \"qemu:///system\"}, {name: hv1, uri: \"qemu:///system\"}]", "libvirt[1].name")
	f("exporter: []", "exporter")
}
