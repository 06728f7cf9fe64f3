//go:build !cgo || !linux || (!libvirt_dlopen && !libvirt_linked)

package libvirt

import "log/slog"

// Supported says why this build cannot poll.
func Supported() error { return ErrNoLibvirt }

func dial(string, *slog.Logger) (connection, error) { return nil, ErrNoLibvirt }
