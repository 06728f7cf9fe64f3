// Command collector runs the project's collector as it is - sockets, decoders, tallies with features, accounts,
// the log on disk - without the components that stand behind the log, so that what collecting costs can
// be measured without Kafka. At its end it reads the log back, which is no part of what is measured, and
// prints what is in it as JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/collector"
	"hostmeter/collector/udp"
	"hostmeter/internal/stream/disk"
)

type options struct {
	listen, data, profile, heap, ledger string
	sampling                            collector.Sampling
}

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:2055", "HOST:PORT")
	flag.StringVar(&o.data, "data", "", "folder of the log and the state; required, and emptied by nobody")
	flag.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile to this file")
	flag.StringVar(&o.heap, "heapprofile", "", "write a heap profile, at SIGTERM and before the last flush, to this file")
	flag.StringVar(&o.ledger, "ledger", "", "write what the log has of each address to this CSV file")
	flag.TextVar(&o.sampling, "sampling", collector.SamplingAuto, "the exporters' setting: auto, none or N")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "collector: error:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if o.data == "" {
		return fmt.Errorf("-data: missing folder")
	}
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(collector.GarbagePercent) // as hostmeter does
	}
	cost, err := collect(o)
	if err != nil {
		return err
	}
	has, err := readBack(o)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(struct {
		usage
		sums
	}{cost, has})
}

// usage is what collecting cost, from the start of the process to the end of the last flush.
type usage struct {
	CPUSeconds  float64 `json:"cpu_seconds"`
	PeakMiB     float64 `json:"peak_mib"`
	KernelDrops float64 `json:"kernel_drops"`
}

// collect runs the collector until SIGTERM.
func collect(o options) (usage, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg := config(o)
	logs, err := disk.Open(ctx, logConfig(o), cfg.ID, cfg.Shards, disk.Deps{Logger: logger})
	if err != nil {
		return usage{}, err
	}
	defer func() { _ = logs.Close() }()
	registry := prometheus.NewRegistry()
	c, err := collector.New(cfg, collector.Deps{
		Log: logs, Logger: logger, Metrics: registry, StateDir: filepath.Join(o.data, "collector"),
	})
	if err != nil {
		return usage{}, err
	}
	stopProfile, err := profile(o)
	if err != nil {
		return usage{}, err
	}
	stopHeap := context.AfterFunc(ctx, func() { heap(o) })
	defer stopHeap()
	if err := c.Run(ctx); err != nil {
		return usage{}, err
	}
	if err := logs.Close(); err != nil {
		return usage{}, err
	}
	stopProfile()
	return measured(registry)
}

func config(o options) collector.Config {
	cfg := collector.DefaultConfig()
	cfg.UDP = []udp.Config{{Listen: o.listen}}
	cfg.Local = []netip.Prefix{netip.MustParsePrefix("10.50.0.0/16")}
	cfg.Exporters = []collector.ExporterConfig{{
		Address: collector.Network{Prefix: netip.MustParsePrefix("127.1.0.0/16")}, Sampling: o.sampling,
	}}
	return cfg
}

func logConfig(o options) disk.Config {
	cfg := disk.DefaultConfig()
	cfg.Path = filepath.Join(o.data, "log")
	return cfg
}

func measured(registry *prometheus.Registry) (usage, error) {
	var u usage
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return u, err
	}
	u.CPUSeconds = float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
	u.PeakMiB = float64(r.Maxrss) / 1024
	families, err := registry.Gather()
	if err != nil {
		return u, err
	}
	for _, family := range families {
		if family.GetName() == "hostmeter_collector_kernel_drops_total" {
			u.KernelDrops = family.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return u, nil
}

func profile(o options) (stop func(), err error) {
	if o.profile == "" {
		return func() {}, nil
	}
	f, err := os.Create(o.profile)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}

func heap(o options) {
	if o.heap == "" {
		return
	}
	f, err := os.Create(o.heap)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	_ = pprof.WriteHeapProfile(f)
}
