//go:build !linux

package main

import (
	"errors"
	"net/netip"
	"time"
)

type plan struct {
	to               netip.AddrPort
	from             netip.Addr
	exporters, ports int
	perSecond        float64
	length, tail     time.Duration
}

func send(*Pool, plan) (Sent, error) {
	return Sent{}, errors.New("sending needs Linux; -file works everywhere")
}
