package app

import (
	"fmt"
	"io"
	"net/netip"

	"hostmeter/collector/replay"
)

// ReplayOptions are the flags of `hostmeter replay`.
type ReplayOptions struct {
	JSON     bool
	Local    []string
	Exporter string
}

// Replay runs captures through the decoding path and prints the sums.
func Replay(files []string, options ReplayOptions, w io.Writer) error {
	var parsed replay.Options
	for _, text := range options.Local {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return wrong(fmt.Errorf("--local %q: not a prefix", text), "for example --local 192.0.2.0/24,2001:db8::/32")
		}
		parsed.Local = append(parsed.Local, prefix.Masked())
	}
	exporter, err := netip.ParseAddr(options.Exporter)
	if err != nil {
		return wrong(fmt.Errorf("--exporter %q: not an address", options.Exporter), "for example --exporter 192.0.2.1")
	}
	parsed.Exporter = exporter
	result, err := replay.Run(files, parsed)
	if err != nil {
		return err
	}
	return printJSON(w, result)
}
