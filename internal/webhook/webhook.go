// Package webhook signs messages as Standard Webhooks says, and posts them.
//
// It owns what every sender of ours has in common: the three headers, the keys, and what an answer
// means. It promises that the body is sent to the host that was named and to no other. It does not repeat
// anything: when to try again is the sender's to decide.
// Source: Standard Webhooks, specification 1.0.0.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ErrRefused says that the receiver will not take a message however often it is sent: an answer of 4xx
// other than 408 and 429.
var ErrRefused = errors.New("refused")

// Key returns the key of a secret: what follows whsec_ is base64, anything else stands for itself.
func Key(secret string) []byte {
	if text, ok := strings.CutPrefix(secret, "whsec_"); ok {
		if key, err := base64.StdEncoding.DecodeString(text); err == nil {
			return key
		}
	}
	return []byte(secret)
}

// Headers returns the headers of a message. id is the same in every repeat and has no full stop in it;
// each key gives one signature, HMAC-SHA256 over id, timestamp and body, joined by full stops.
func Headers(keys [][]byte, id string, at time.Time, body []byte) map[string]string {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, len(keys))
	for i, key := range keys {
		signatures[i] = "v1," + sign(key, id, timestamp, body)
	}
	return map[string]string{
		"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": strings.Join(signatures, " "),
	}
}

func sign(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, id+"."+timestamp+".") // never fails
	_, _ = mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Post sends a body of JSON, as application/json where headers do not say otherwise.
//
// Errors: ErrRefused; else the answer, or why there was none.
func Post(ctx context.Context, client *http.Client, url string, body []byte, headers map[string]string) error {
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
		return fmt.Errorf("%w: %s: %s", ErrRefused, response.Status, bytes.TrimSpace(answer))
	}
	return fmt.Errorf("%s: %s", response.Status, bytes.TrimSpace(answer))
}

// Client returns a client with a timeout that follows no redirect: the signature is for one receiver.
func Client(timeout time.Duration) *http.Client {
	return &http.Client{Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// CheckURL says what is wrong with the address of a receiver.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("want http://HOST… or https://HOST…")
	}
	return nil
}
