package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hostmeter/detector/incident"
)

// receiver tells one receiver of an incident. id is the same in every repeat.
type receiver interface {
	tell(ctx context.Context, id, event string, i incident.Incident, at time.Time) error
}

// errRefused says that the receiver will not take a message however often it is sent.
var errRefused = errors.New("refused")

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
	return post(ctx, a.client, strings.TrimRight(a.url, "/")+"/api/v2/alerts", body, nil)
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

// webhook posts messages that are signed as Standard Webhooks says: HMAC-SHA256 over id, timestamp and
// body, joined by dots.
type webhook struct {
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

func (w webhook) tell(ctx context.Context, id, event string, i incident.Incident, at time.Time) error {
	changed := i.OpenedAt
	if event == incident.EventResolved {
		changed = i.ResolvedAt
	}
	body, err := json.Marshal(message{Type: "incident." + event, Timestamp: changed, Data: i})
	if err != nil {
		return err
	}
	timestamp := strconv.FormatInt(at.Unix(), 10)
	return post(ctx, w.client, w.url, body, map[string]string{
		"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": "v1," + sign(w.key, id, timestamp, body),
	})
}

func sign(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, id+"."+timestamp+".") // never fails
	_, _ = mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// keyOf returns the key of a secret: what follows whsec_ is base64, anything else stands for itself.
func keyOf(secret string) []byte {
	if text, ok := strings.CutPrefix(secret, "whsec_"); ok {
		if key, err := base64.StdEncoding.DecodeString(text); err == nil {
			return key
		}
	}
	return []byte(secret)
}

// post sends a body. Errors: errRefused for an answer that a repeat would get again.
func post(ctx context.Context, client *http.Client, url string, body []byte, headers map[string]string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(response.Body, 512)) // shown with an error only
	switch {
	case response.StatusCode < 300:
		return nil
	case response.StatusCode >= 400 && response.StatusCode < 500 && response.StatusCode != http.StatusTooManyRequests && response.StatusCode != http.StatusRequestTimeout:
		return fmt.Errorf("%w: %s: %s", errRefused, response.Status, bytes.TrimSpace(answer))
	}
	return fmt.Errorf("%s: %s", response.Status, bytes.TrimSpace(answer))
}
