package whmcs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// What is known of a call that did not succeed. An error that is none of these says nothing about the
// effect: the call may have taken place, or may still take place.
var (
	// ErrUntouched says that the call had no effect and may be made again later.
	ErrUntouched = errors.New("not reached")
	// ErrRefused says that the call had no effect, and that a repeat would be refused again.
	ErrRefused = errors.New("refused")
	// ErrUnfit says that no call was made: it could not be right as things stand.
	ErrUnfit = errors.New("cannot be sent")
	// ErrUnanswered says that what came back, if anything, was not said by WHMCS: it says nothing about the
	// effect, and other calls would fare alike.
	ErrUnanswered = errors.New("no answer of WHMCS")
)

// refusals are the messages with which an action ends before it has an effect, by their beginning.
// Source: WHMCS API reference, AddBillableItem, AddCredit, GetClientsDetails.
var refusals = map[string][]string{
	"AddBillableItem": {"Client ID not Found", "You must provide a description", "Invalid Invoice Action",
		"Recurring must have a unit, cycle and limit", "Due date is required"},
	"AddCredit": {"Type can only be add or remove", "Client ID Not Found", "Admin ID Not Found", "No Amount Provided",
		"Amount must be in decimal format", "Date Format is not Valid"},
	"GetClientsDetails":   {"Client Not Found", "Client ID Not Found"},
	"UpdateClientProduct": {"Service ID Not Found"},
}

// gates are the messages of the checks that come before any action.
var gates = []string{"Authentication Failed", "Invalid IP", "Invalid Permissions", "Access Denied", "API credentials"}

// maxAnswer bounds an answer; a page of 100 invoices is about 100 KiB.
const maxAnswer = 16 << 20

// call makes one call and decodes what it returns into into, which may be nil.
//
// Errors: ErrUntouched, ErrRefused; ErrUnanswered and any other leave the effect open.
func (c *Client) call(ctx context.Context, action string, fields map[string]string, into any) error {
	form := url.Values{"action": {action}, "responsetype": {"json"}, "identifier": {c.cfg.Identifier.Reveal()}, "secret": {c.cfg.Secret.Reveal()}}
	if c.cfg.AccessKey.IsSet() {
		form.Set("accesskey", c.cfg.AccessKey.Reveal())
	}
	for name, value := range fields {
		form.Set(name, value)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.cfg.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("%s: %w: %w", action, ErrUntouched, err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := c.http.Do(request)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			return fmt.Errorf("%s: %w: %w", action, ErrUntouched, err)
		}
		return fmt.Errorf("%s: %w: %w", action, ErrUnanswered, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if beforeAction(response.StatusCode, text) {
		return fmt.Errorf("%s: %w: %s: %s", action, ErrUntouched, response.Status, excerpt(text))
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", action, ErrUnanswered, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %w: %s: %s", action, ErrUnanswered, response.Status, excerpt(text))
	}
	return decode(action, text, into)
}

// beforeAction says whether an answer was given before any action was taken. A 403 counts only where it is
// WHMCS's own error of a check: a filter in between may answer 403, with a page that denies access, to
// what it does not like in WHMCS's own answer.
func beforeAction(status int, text []byte) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
		var a answer
		return json.Unmarshal(text, &a) == nil && a.fails(gates)
	}
	return false
}

// answer is what every answer has.
type answer struct {
	Result  string `json:"result"`
	Message string `json:"message"`
}

// fails says whether the answer is an error whose message begins with one of a list.
func (a answer) fails(messages []string) bool {
	return a.Result == "error" && begins(a.Message, messages)
}

func decode(action string, text []byte, into any) error {
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return fmt.Errorf("%s: %w: it is not JSON: %s", action, ErrUnanswered, excerpt(text))
	}
	switch {
	case a.Result == "success" && into == nil:
		return nil
	case a.Result == "success":
		if err := json.Unmarshal(text, into); err != nil {
			return fmt.Errorf("%s: read the answer: %w", action, err)
		}
		return nil
	case a.fails(gates):
		return fmt.Errorf("%s: %w: %s", action, ErrUntouched, a.Message)
	case a.fails(refusals[action]):
		return fmt.Errorf("%s: %w: %s", action, ErrRefused, a.Message)
	}
	return fmt.Errorf("%s: result %q: %s", action, a.Result, excerpt([]byte(a.Message)))
}

func begins(message string, with []string) bool {
	for _, begin := range with {
		if len(message) >= len(begin) && strings.EqualFold(message[:len(begin)], begin) {
			return true
		}
	}
	return false
}

// excerpt is what of an answer is shown in an error: one short line.
func excerpt(text []byte) string {
	line := strings.Join(strings.Fields(string(text)), " ")
	if len(line) > 160 {
		line = strings.ToValidUTF8(line[:160], "") + "…"
	}
	return line
}

// number is a number that comes as one or as a text: WHMCS writes both.
type number string

func (n *number) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	if text == "null" {
		text = ""
	}
	*n = number(text)
	return nil
}

// inner reads a list that is written as {"KEY": [...]}, and, where it is empty or has holes, as "", [],
// null or an object with numbered keys: PHP knows one kind of array.
func inner[T any](data json.RawMessage, key string) ([]T, error) {
	data = bytes.TrimSpace(data)
	if len(data) > 0 && data[0] == '{' {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(data, &object); err != nil {
			return nil, err
		}
		if nested, ok := object[key]; ok {
			return inner[T](nested, "")
		}
		var list []T
		for _, value := range object {
			var item T
			if err := json.Unmarshal(value, &item); err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return list, nil
	}
	if len(data) == 0 || data[0] != '[' {
		return nil, nil
	}
	var list []T
	return list, json.Unmarshal(data, &list)
}
