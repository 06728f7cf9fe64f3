package statement

import (
	"io"
	"net/netip"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/utilisation"
)

// Utilised is an IPv4 prefix of a service: how many of its addresses have sent since they were assigned, and what the
// terms say. It is judged together with all that the service was given at the same time.
type Utilised struct {
	Customer   string       `json:"customer"`
	Service    string       `json:"service"`
	Prefix     netip.Prefix `json:"prefix"`
	AssignedAt time.Time    `json:"assigned_at"`
	// Addresses are those of the prefix that are the service's, without those of longer prefixes in it.
	Addresses int64 `json:"addresses"`
	Used      int64 `json:"used"`
	// Of the whole assignment: addresses asked for, needed and used.
	AssignmentAddresses int64             `json:"assignment_addresses"`
	Needed              int64             `json:"assignment_needed"`
	AssignmentUsed      int64             `json:"assignment_used"`
	Deadline            time.Time         `json:"deadline"`
	State               utilisation.State `json:"state"`
	// Notice is nil where none was given.
	Notice *UtilisedNotice `json:"notice"`
	// ServiceAddresses are all IPv4 addresses of the service now; Beyond of them are not free.
	ServiceAddresses int64 `json:"service_addresses"`
	Beyond           int64 `json:"service_addresses_beyond_free"`
}

// UtilisedNotice was given to the customer.
type UtilisedNotice struct {
	On            rating.Date `json:"on"`
	By            string      `json:"by"`
	Reason        string      `json:"reason"`
	RevocableFrom time.Time   `json:"revocable_from"`
}

// utilisedColumns are those of the CSV. Others read them by name and by place: add at the end.
const utilisedColumns = "customer,service,prefix,assigned_at,addresses,used,assignment_addresses,assignment_needed,assignment_used,deadline,state," +
	"notice_on,notice_by,notice_reason,revocable_from,service_addresses,service_addresses_beyond_free"

// WriteUtilisedCSV writes one line a service and prefix.
func WriteUtilisedCSV(w io.Writer, rows []Utilised) error {
	return writeCSV(w, "address utilisation", utilisedColumns, func(line func(...string) error) error {
		for _, r := range rows {
			notice := make([]string, 4)
			if n := r.Notice; n != nil {
				notice = []string{n.On.String(), text(n.By), text(n.Reason), n.RevocableFrom.Format(time.RFC3339)}
			}
			cells := []string{text(r.Customer), text(r.Service), r.Prefix.String(), r.AssignedAt.Format(time.RFC3339), integer(r.Addresses), integer(r.Used),
				integer(r.AssignmentAddresses), integer(r.Needed), integer(r.AssignmentUsed), r.Deadline.Format(time.RFC3339), string(r.State)}
			if err := line(append(append(cells, notice...), integer(r.ServiceAddresses), integer(r.Beyond))...); err != nil {
				return err
			}
		}
		return nil
	})
}
