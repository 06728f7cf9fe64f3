package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"hostmeter/internal/auth"
)

// problem is an answer that is not the one that was asked for.
type problem struct {
	Status  int      `json:"-"`
	Message string   `json:"error"`
	Hint    string   `json:"hint"`
	Lines   []string `json:"lines,omitempty"` // each wrong line of an import
	retry   int      // seconds
}

func (p *problem) Error() string { return p.Message }

func badRequest(message, hint string) *problem {
	return &problem{Status: http.StatusBadRequest, Message: message, Hint: hint}
}

func unavailable(what string) *problem {
	return &problem{Status: http.StatusServiceUnavailable, Message: what + " is not available in this process",
		Hint: "ask the process that has it: `hostmeter run` has everything, `hostmeter serve` what the shared store knows"}
}

// problemOf maps an error of a Backend, of auth or of this package to an answer. What is not known
// is a fault of ours: 500, and its text goes to the log only.
func problemOf(err error) *problem {
	var own *problem
	var invalid *InvalidError
	var rate *auth.RateError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &invalid):
		return &problem{Status: http.StatusUnprocessableEntity, Message: invalid.Message, Hint: invalid.Hint, Lines: invalid.Lines}
	case errors.As(err, &rate):
		return &problem{Status: http.StatusTooManyRequests, Message: rate.Error(), retry: int(rate.RetryAfter.Seconds()) + 1,
			Hint: "wait; an admin can set a new password with `hostmeter user passwd NAME`"}
	case errors.As(err, &tooLarge):
		return &problem{Status: http.StatusRequestEntityTooLarge, Message: "body is larger than " + strconv.FormatInt(tooLarge.Limit, 10) + " bytes", Hint: "send it in parts"}
	case errors.Is(err, ErrNotFound):
		return &problem{Status: http.StatusNotFound, Message: err.Error(), Hint: "list what there is with the collection's GET"}
	case errors.Is(err, ErrConflict):
		return &problem{Status: http.StatusConflict, Message: err.Error(), Hint: "read it again: somebody else may have changed it"}
	case errors.Is(err, ErrUnavailable):
		return &problem{Status: http.StatusServiceUnavailable, Message: err.Error(), Hint: "try again; `hostmeter doctor` says what is down"}
	case errors.Is(err, context.DeadlineExceeded):
		return &problem{Status: http.StatusServiceUnavailable, Message: "the answer took too long", Hint: "ask for a shorter span"}
	}
	return &problem{Status: http.StatusInternalServerError, Message: "internal error", Hint: "the log has the reason under this request's id"}
}

// fail answers with a problem, as JSON or as a page.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, page bool, who auth.Identity, err error) {
	p := problemOf(err)
	info := infoOf(r.Context())
	if p.Status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		s.log.Error("request failed", "request", info.id, "route", info.route, "err", err)
	}
	if p.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.retry))
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="hostmeter"`)
	}
	if page {
		s.render(w, r, p.Status, "problem", who, problemView{Status: p.Status, Text: http.StatusText(p.Status), Message: p.Message, Hint: p.Hint, Request: info.id})
		return
	}
	writeJSON(w, p.Status, p)
}

// writeJSON writes a value that can always be encoded.
func writeJSON(w http.ResponseWriter, status int, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // a type of ours that JSON cannot hold
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the reader may have gone
}
