package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"hostmeter/detector/incident"
	"hostmeter/internal/webhook"
)

// receiver tells one receiver of an incident. id is the same in every repeat.
type receiver interface {
	tell(ctx context.Context, id, event string, i incident.Incident, at time.Time) error
}

// alertmanager posts alerts to API v2. An alert's identity is its labels; it is resolved by an end
// that is not in the future.
type alertmanager struct {
	url, linkTo string
	client      *http.Client
}

type alert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt,omitzero"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

func (a alertmanager) tell(ctx context.Context, _, event string, i incident.Incident, at time.Time) error {
	one := alert{
		Labels: map[string]string{
			"alertname": i.Rule, "severity": i.Severity, "meter": i.Meter, "incident": i.ID, "service": i.Service, "customer": i.Customer,
		},
		Annotations: map[string]string{"summary": summary(i)},
		StartsAt:    i.BeganAt,
	}
	for name, value := range one.Labels { // an empty label is the same as none
		if value == "" {
			delete(one.Labels, name)
		}
	}
	if a.linkTo != "" {
		one.GeneratorURL = strings.TrimRight(a.linkTo, "/") + "/incidents/" + i.ID
	}
	one.EndsAt = at.Add(alertLife)
	if event == incident.EventResolved {
		one.EndsAt = at
	}
	body, err := json.Marshal([]alert{one})
	if err != nil {
		return err
	}
	return webhook.Post(ctx, a.client, strings.TrimRight(a.url, "/")+"/api/v2/alerts", body, nil)
}

// alertLife is how long an alert stands that is not sent again; it is sent again well before.
const (
	alertLife   = 15 * time.Minute
	alertRepeat = 5 * time.Minute
)

func summary(i incident.Incident) string {
	return fmt.Sprintf("%s on %s: %s beyond %g for %.0f %% of the observed time (%.0f %% observed)",
		i.Rule, i.Meter, i.Evidence.Metric, i.Evidence.Threshold, 100*i.Evidence.Share, 100*i.Evidence.Coverage)
}

// signed posts messages that are signed as Standard Webhooks says.
type signed struct {
	url    string
	key    []byte
	client *http.Client
}

// message is the body of a webhook.
type message struct {
	Type      string            `json:"type"` // incident.opened, incident.resolved
	Timestamp time.Time         `json:"timestamp"`
	Data      incident.Incident `json:"data"`
}

func (w signed) tell(ctx context.Context, id, event string, i incident.Incident, at time.Time) error {
	changed := i.OpenedAt
	if event == incident.EventResolved {
		changed = i.ResolvedAt
	}
	body, err := json.Marshal(message{Type: "incident." + event, Timestamp: changed, Data: i})
	if err != nil {
		return err
	}
	return webhook.Post(ctx, w.client, w.url, body, webhook.Headers([][]byte{w.key}, id, at, body))
}
