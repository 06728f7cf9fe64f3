package app

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hostmeter/detector/incident"
	"hostmeter/internal/httpapi"
)

// incidentDesk joins the API to the store of incidents.
type incidentDesk struct{ *Desk }

func (d incidentDesk) Incidents(ctx context.Context, f httpapi.IncidentFilter) ([]httpapi.Incident, error) {
	list, err := d.incidents.List(ctx, incident.Filter{
		State: incident.State(f.State), Rule: f.Rule, Severity: f.Severity, Meter: f.Meter,
		Service: f.Service, Customer: f.Customer, Acknowledged: f.Acknowledged, Since: f.Since, Limit: f.Limit,
	})
	if err != nil {
		return nil, err
	}
	out := make([]httpapi.Incident, len(list))
	for i, one := range list {
		out[i] = incidentToAPI(one)
	}
	return out, nil
}

func (d incidentDesk) Incident(ctx context.Context, id string) (httpapi.IncidentDetail, error) {
	one, err := d.incidents.Get(ctx, id)
	if err != nil {
		return httpapi.IncidentDetail{}, incidentFault(err)
	}
	events, err := d.incidents.Events(ctx, id)
	if err != nil {
		return httpapi.IncidentDetail{}, err
	}
	sent, err := d.incidents.Notifications(ctx, id)
	if err != nil {
		return httpapi.IncidentDetail{}, err
	}
	detail := httpapi.IncidentDetail{Incident: incidentToAPI(one), Evidence: evidenceToAPI(one)}
	for _, e := range events {
		detail.Events = append(detail.Events, httpapi.Event{At: e.At, By: e.Actor, What: e.Action, Note: e.Text})
	}
	for _, n := range sent {
		detail.Notifications = append(detail.Notifications, httpapi.Notification{At: n.At, Receiver: n.Receiver, Outcome: outcomeOf(n), Detail: n.Detail})
	}
	return detail, nil
}

func (d incidentDesk) Acknowledge(ctx context.Context, id string, by httpapi.Actor, note string) (httpapi.Incident, error) {
	one, err := d.incidents.Acknowledge(ctx, id, string(by), note)
	return incidentToAPI(one), incidentFault(err)
}

func (d incidentDesk) Silence(ctx context.Context, id string, until time.Time, by httpapi.Actor, note string) (httpapi.Incident, error) {
	one, err := d.incidents.Silence(ctx, id, until, string(by), note)
	return incidentToAPI(one), incidentFault(err)
}

func (d incidentDesk) Resolve(ctx context.Context, id string, by httpapi.Actor, note string) (httpapi.Incident, error) {
	one, err := d.incidents.Resolve(ctx, id, string(by), note)
	return incidentToAPI(one), incidentFault(err)
}

// incidentFault gives the store's errors the API's meaning.
func incidentFault(err error) error {
	switch {
	case errors.Is(err, incident.ErrNotFound):
		return fmt.Errorf("%w: %w", httpapi.ErrNotFound, err)
	case errors.Is(err, incident.ErrResolved):
		return fmt.Errorf("%w: %w", httpapi.ErrConflict, err)
	}
	return err
}

func incidentToAPI(i incident.Incident) httpapi.Incident {
	share, coverage := i.Evidence.Share, i.Evidence.Coverage
	return httpapi.Incident{
		ID: i.ID, State: string(i.State), Condition: i.Condition, Rule: i.Rule, Severity: i.Severity,
		Meter: i.Meter, Service: i.Service, Customer: i.Customer, Summary: summaryOf(i),
		Since: i.BeganAt, OpenedAt: i.OpenedAt, ResolvedAt: optionalTime(i.ResolvedAt),
		Share: &share, Coverage: &coverage,
		AcknowledgedAt: optionalTime(i.AcknowledgedAt), AcknowledgedBy: i.AcknowledgedBy,
		AssignedTo: i.AssignedTo, SilencedUntil: optionalTime(i.SilencedUntil), Late: i.Late,
	}
}

// summaryOf says in one line what the rule saw.
func summaryOf(i incident.Incident) string {
	e := i.Evidence
	window := e.WindowTo.Sub(e.WindowFrom).Round(time.Second)
	return fmt.Sprintf("%s beyond %s for %.0f %% of the observed time of %s (%.0f %% observed)",
		e.Metric, quantityText(e.Threshold, unitOfMetric(e.Metric)), 100*e.Share, window, 100*e.Coverage)
}

// unitOfMetric returns the unit of a rule's metric; "" is a plain count.
func unitOfMetric(metric string) string {
	for suffix, unit := range map[string]string{
		"_ratio": "ratio", "_bits_per_second": "bit/s", "_packets_per_second": "packet/s",
		"_flows_per_second": "flow/s", "fragments_per_second": "packet/s", "cpu_capacity": "vCPU",
	} {
		if strings.HasSuffix(metric, suffix) {
			return unit
		}
	}
	return ""
}

// quantityText writes a number as a person reads it: 200 Mbit/s, 90 %.
func quantityText(v float64, unit string) string {
	if unit == "ratio" {
		return strconv.FormatFloat(100*v, 'f', -1, 64) + " %"
	}
	prefix := ""
	for _, p := range []string{"k", "M", "G", "T"} {
		if v < 1000 {
			break
		}
		v, prefix = v/1000, p
	}
	return strings.TrimSpace(strconv.FormatFloat(v, 'f', -1, 64) + " " + prefix + unit)
}

func evidenceToAPI(i incident.Incident) httpapi.Evidence {
	e := i.Evidence
	threshold := e.Threshold
	out := httpapi.Evidence{
		Metric: e.Metric, Unit: unitOfMetric(e.Metric), Threshold: &threshold,
		WindowFrom: e.WindowFrom, WindowTo: e.WindowTo, RuleText: e.RuleText,
	}
	if e.StandardErrorShare > 0 {
		share := e.StandardErrorShare
		out.StandardError = &share
	}
	for _, v := range e.Series.Values {
		value := v.Value
		out.Series = append(out.Series, httpapi.Point{At: v.At, Value: &value})
	}
	for _, p := range e.TopPeers {
		out.TopPeers = append(out.TopPeers, httpapi.Peer{Address: p.Address, Octets: p.Octets, Packets: p.Packets})
	}
	for _, p := range e.TopPorts {
		out.TopPorts = append(out.TopPorts, httpapi.PortTraffic{Protocol: protocolName(p.Protocol), Port: p.Port, Octets: p.Octets, Packets: p.Packets})
	}
	return out
}

// protocolName names an IP protocol; a rare one is its number.
func protocolName(number uint32) string {
	switch number {
	case 1:
		return "icmp"
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 58:
		return "icmpv6"
	}
	return strconv.FormatUint(uint64(number), 10)
}

func optionalTime(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}

// outcomeOf names what became of a notification: sent, retrying, waiting, refused, dropped.
func outcomeOf(n incident.Notification) string {
	switch {
	case n.Outcome == "standing": // an alert that is sent again while it lasts
		return "sent"
	case n.Outcome == "pending" && n.Attempts > 0:
		return "retrying"
	case n.Outcome == "pending":
		return "waiting"
	}
	return n.Outcome
}
