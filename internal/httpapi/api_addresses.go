package httpapi

import (
	"fmt"
	"io"
	"net/http"

	"hostmeter/internal/auth"
)

// getAddresses tells how the addresses that services were given are used.
func (s *Server) getAddresses(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Addresses == nil {
		return unavailable("the use of addresses")
	}
	p := readParams(r, s.zone, "format")
	format := p.choice("format", "json", "json", "csv")
	if err := p.error(); err != nil {
		return err
	}
	if format == "csv" {
		name := "hostmeter-addresses-" + s.deps.Clock.Now().In(s.zone).Format("2006-01-02") + ".csv"
		return s.sendFile(w, r, who, name, Deed{Action: "download use of addresses", Text: name}, func(file io.Writer) error {
			return s.deps.Backend.Addresses.WriteUtilisation(r.Context(), file)
		})
	}
	list, err := s.deps.Backend.Addresses.Utilisation(r.Context())
	return writeList(w, r, list, err)
}

// postNotice records that a customer was told.
func (s *Server) postNotice(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	var notice AddressNotice
	if err := readJSON(r, &notice); err != nil && err != errEmpty {
		return err
	}
	use, err := s.giveNotice(r, who, notice)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, use)
	return nil
}

// giveNotice gives a notice and returns the prefix as it stands afterwards.
func (s *Server) giveNotice(r *http.Request, who auth.Identity, notice AddressNotice) (AddressUse, error) {
	if s.deps.Backend.Addresses == nil {
		return AddressUse{}, unavailable("the use of addresses")
	}
	if notice.Service == "" || notice.Prefix == "" {
		return AddressUse{}, badRequest("service or prefix is missing", `for example {"service": "s1", "prefix": "192.0.2.0/28", "on": "2026-10-20", "reason": "mail of that day"}`)
	}
	if len(notice.Service) > textMax || len(notice.Prefix) > textMax || len(notice.Reason) > noteMax {
		return AddressUse{}, badRequest("service, prefix or reason is too long", fmt.Sprintf("at most %d and %d bytes", textMax, noteMax))
	}
	return s.deps.Backend.Addresses.GiveNotice(r.Context(), notice, Actor(who.Actor()))
}
