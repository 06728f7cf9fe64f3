// Command profile joins CPU profiles into one, without what they tell of the machine that they were made on.
//
// Usage: profile OUT PROFILE, and more of them
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/google/pprof/profile"
)

func main() {
	if err := join(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		os.Exit(1)
	}
}

func join(paths []string) error {
	if len(paths) < 2 {
		return errors.New("usage: profile OUT PROFILE, and more of them")
	}
	var all []*profile.Profile
	for _, path := range paths[1:] {
		p, err := read(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, p)
	}
	joined, err := profile.Merge(all)
	if err != nil {
		return err
	}
	for _, m := range joined.Mapping {
		m.File, m.BuildID = "", ""
	}
	out, err := os.Create(paths[0])
	if err != nil {
		return err
	}
	return errors.Join(joined.Write(out), out.Close())
}

func read(path string) (*profile.Profile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return profile.Parse(f)
}
