// Package doctor checks an installation and says, for each thing that is wrong, what to do.
//
// It owns the form of a finding and the checks of the machine. What a check needs to know is handed to
// it: it opens no store and no log.
package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Level is how bad a finding is.
type Level string

// The levels.
const (
	Good    Level = "good"
	Warning Level = "warning" // works, and may not for long or not for all
	Fault   Level = "fault"   // does not work
)

// Finding is what a check found.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
	// Hint is what to do next; empty where nothing is wrong.
	Hint string `json:"hint,omitempty"`
}

// Check looks at one thing.
type Check struct {
	Name string
	Run  func(ctx context.Context) []Finding
}

// Run runs all checks in order; one that finds nothing is good.
func Run(ctx context.Context, checks []Check) []Finding {
	var out []Finding
	for _, check := range checks {
		found := check.Run(ctx)
		if len(found) == 0 {
			found = []Finding{{Level: Good, Text: "nothing to say"}}
		}
		for _, f := range found {
			f.Check = check.Name
			out = append(out, f)
		}
	}
	return out
}

// Worst returns the worst level of the findings.
func Worst(findings []Finding) Level {
	worst := Good
	for _, f := range findings {
		if f.Level == Fault || f.Level == Warning && worst == Good {
			worst = f.Level
		}
	}
	return worst
}

// Write prints findings for a person, or as JSON.
func Write(w io.Writer, findings []Finding, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(findings)
	}
	for _, f := range findings {
		if _, err := fmt.Fprintf(w, "%-8s %-14s %s\n", f.Level, f.Check, f.Text); err != nil {
			return err
		}
		if f.Hint != "" {
			if _, err := fmt.Fprintf(w, "%-8s %-14s -> %s\n", "", "", f.Hint); err != nil {
				return err
			}
		}
	}
	return nil
}

// ReceiveBuffer compares the socket buffers that are wanted with what the kernel allows
// (net.core.rmem_max, in octets).
func ReceiveBuffer(wanted int64) Check {
	return Check{Name: "receive buffer", Run: func(context.Context) []Finding {
		text, err := os.ReadFile("/proc/sys/net/core/rmem_max")
		if err != nil {
			return []Finding{{Level: Warning, Text: "net.core.rmem_max cannot be read: " + err.Error()}}
		}
		limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return []Finding{{Level: Warning, Text: "net.core.rmem_max is no number: " + err.Error()}}
		}
		if limit < wanted {
			return []Finding{{
				Level: Warning, Text: fmt.Sprintf("the kernel allows %d octets, %d are configured", limit, wanted),
				Hint: fmt.Sprintf("run as root or with CAP_NET_ADMIN, or: sysctl -w net.core.rmem_max=%d", wanted),
			}}
		}
		return []Finding{{Level: Good, Text: fmt.Sprintf("the kernel allows %d octets", limit)}}
	}}
}

// Folder checks that a folder can be written.
func Folder(name, path string) Check {
	return Check{Name: name, Run: func(context.Context) []Finding {
		if err := os.MkdirAll(path, 0o750); err != nil {
			return []Finding{{Level: Fault, Text: err.Error(), Hint: "make it, and let this user write to it"}}
		}
		probe, err := os.CreateTemp(path, ".doctor-*")
		if err != nil {
			return []Finding{{Level: Fault, Text: err.Error(), Hint: "let this user write to " + path}}
		}
		_ = probe.Close()
		_ = os.Remove(probe.Name())
		return []Finding{{Level: Good, Text: path + " can be written"}}
	}}
}
