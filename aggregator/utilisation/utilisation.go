// Package utilisation judges whether the IPv4 addresses that a service was given are used as its terms ask.
//
// It owns the clocks: how many addresses have to have sent something how soon, when a notice is due, and from
// when on addresses may be taken back. It is pure: times and counts go in, a state comes out. It does not know how it was
// found out that an address has sent. IPv6 prefixes are not counted: one holds more addresses than anybody uses.
package utilisation

import (
	"fmt"
	"net/netip"
	"time"

	"hostmeter/aggregator/rating"
)

// Terms are what customers agree to when they get addresses.
type Terms struct {
	// Free addresses of a service cost nothing.
	Free int64 `yaml:"free" json:"free"`
	// UsedPercent of what was assigned at one time has to be used WithinDays days later.
	UsedPercent int64 `yaml:"used_percent" json:"used_percent"`
	WithinDays  int   `yaml:"within_days" json:"within_days"`
	// NoticeDays lie between a notice and the day from which on the addresses may be taken back.
	NoticeDays int `yaml:"notice_days" json:"notice_days"`
	// Reserved addresses of each prefix of four or more are not asked for: network, broadcast, gateway.
	Reserved int64 `yaml:"reserved" json:"reserved"`
}

// DefaultTerms returns the terms of an empty file.
func DefaultTerms() Terms {
	return Terms{Free: 8, UsedPercent: 80, WithinDays: 10, NoticeDays: 5}
}

// Validate names the key that is wrong.
func (t Terms) Validate() error {
	switch {
	case t.Free < 0:
		return fmt.Errorf("free: %d is negative", t.Free)
	case t.UsedPercent < 1 || t.UsedPercent > 100:
		return fmt.Errorf("used_percent: %d is not between 1 and 100", t.UsedPercent)
	case t.WithinDays < 0 || t.WithinDays > 3650:
		return fmt.Errorf("within_days: %d is not between 0 and 3650", t.WithinDays)
	case t.NoticeDays < 0 || t.NoticeDays > 3650:
		return fmt.Errorf("notice_days: %d is not between 0 and 3650", t.NoticeDays)
	case t.Reserved < 0 || t.Reserved > 3:
		return fmt.Errorf("reserved: %d is not between 0 and 3", t.Reserved)
	}
	return nil
}

// State is where an assignment stands.
type State string

// The states.
const (
	InTime      State = "in_time"      // its days are not over
	Satisfied   State = "satisfied"    // enough has sent
	NoticeDue   State = "notice_due"   // its days are over, it is short, and nobody has given notice
	NoticeGiven State = "notice_given" // and its days run
	Revocable   State = "revocable"    // the days of the notice are over, and it still is short
)

// Prefix is one of the prefixes of an assignment. Addresses are those of it that are the service's: not those of
// longer prefixes inside it. Used of them have sent since they were assigned.
type Prefix struct {
	Prefix          netip.Prefix
	Addresses, Used int64
}

// Notice was given to the customer on a day.
type Notice struct {
	On     rating.Date
	By     string
	Reason string
}

// Assignment is all that a service was given at one time and still has: it is judged as a whole.
type Assignment struct {
	At       time.Time
	Prefixes []Prefix
	Notice   *Notice // the first one since; nil where there is none
}

// Judgement is what the terms say of an assignment.
type Judgement struct {
	// Addresses are asked for, of which Needed have to be used; Used are.
	Addresses, Needed, Used int64
	Deadline                time.Time
	State                   State
	// RevocableFrom is zero where no notice was given.
	RevocableFrom time.Time
}

// Judge says where an assignment stands at an instant. Days are those of the zone.
func (t Terms) Judge(a Assignment, zone *time.Location, now time.Time) Judgement {
	j := Judgement{Deadline: a.At.In(zone).AddDate(0, 0, t.WithinDays)}
	for _, p := range a.Prefixes {
		j.Addresses += t.asked(p.Addresses)
		j.Used += p.Used
	}
	j.Needed = (j.Addresses*t.UsedPercent + 99) / 100
	if a.Notice != nil {
		j.RevocableFrom = a.Notice.On.AddDays(t.NoticeDays).In(zone).In(zone) // a date begins at an instant of UTC
	}
	switch {
	case j.Used >= j.Needed:
		j.State = Satisfied
	case now.Before(j.Deadline):
		j.State = InTime
	case a.Notice == nil:
		j.State = NoticeDue
	case now.Before(j.RevocableFrom):
		j.State = NoticeGiven
	default:
		j.State = Revocable
	}
	return j
}

// asked leaves out of a prefix what cannot send.
func (t Terms) asked(addresses int64) int64 {
	if addresses < 4 {
		return addresses
	}
	return addresses - t.Reserved
}

// Beyond returns how many of a service's addresses are not free.
func (t Terms) Beyond(addresses int64) int64 { return max(addresses-t.Free, 0) }
