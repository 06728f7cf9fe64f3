// Package libvirt reads what guests use from hypervisors over libvirt: CPU time, vCPUs, steal, state,
// and the counters of each virtual interface.
//
// It owns the connections and, in Host, the step from two readings to a difference, which is pure.
// It promises that a first reading is never billed, that no difference is negative, that a guest
// that is off uses nothing, and that a hung guest or host stops neither the poll of the others nor
// the program. It does not promise what a guest used between its last reading and its end: that is
// declared, not estimated.
//
// libvirt.so.0 is opened at the first connection in a build with cgo and the tag libvirt_dlopen; with
// libvirt_linked the program needs it to start. In any other build Host works, and Supported and Poll
// say that there is no libvirt source.
package libvirt

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Config is one hypervisor.
type Config struct {
	// Name stands in accounts as "libvirt/NAME".
	Name string `yaml:"name"`
	// URI is libvirt's: qemu:///system, qemu+tls://host/system, ...
	URI string `yaml:"uri"`
	// Every is the time between two polls. 0 is DefaultEvery.
	Every time.Duration `yaml:"every,omitempty"`
}

// DefaultEvery suits 200 guests: a poll of them costs the daemon a quarter of a CPU second.
const DefaultEvery = 10 * time.Second

// Validate names keys relative to the hypervisor's own: `uri: missing`.
func (c Config) Validate() error {
	switch {
	case c.Name == "":
		return errors.New("name: missing")
	case strings.ContainsAny(c.Name, "/ \t\n"):
		return fmt.Errorf("name: %q has a slash or a space", c.Name)
	case c.URI == "":
		return errors.New("uri: missing (for example qemu:///system)")
	case c.Every != 0 && c.Every < time.Second:
		return fmt.Errorf("every: %v is below 1s, and libvirt counts in steps of 10ms", c.Every)
	case c.Every > 5*time.Minute:
		return fmt.Errorf("every: %v is above 5m: the minutes between two polls would not count as observed", c.Every)
	}
	if u, err := url.Parse(c.URI); err != nil || u.Scheme == "" {
		return fmt.Errorf("uri: %q is not a libvirt URI (for example qemu+tls://host/system)", c.URI)
	}
	return nil
}

// Exporter is the name of the hypervisor in accounts, completeness and positions.
func (c Config) Exporter() string { return Exporter(c.Name) }

// Exporter is the name of a hypervisor in accounts, completeness and positions.
func Exporter(name string) string { return "libvirt/" + name }

func (c Config) every() time.Duration {
	if c.Every == 0 {
		return DefaultEvery
	}
	return c.Every
}
