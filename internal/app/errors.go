package app

import "errors"

// ErrUsage marks wrong usage or configuration (exit code 2).
var ErrUsage = errors.New("wrong usage")

// ErrInputRefused marks work that was done, with input that was refused and named (exit code 3).
var ErrInputRefused = errors.New("input refused")

// HintError is an error with what to do next, for a person at a terminal.
type HintError struct {
	Err  error
	Hint string
}

func (e *HintError) Error() string { return e.Err.Error() }

func (e *HintError) Unwrap() error { return e.Err }

// wrong makes err an error of usage or configuration, with a hint.
func wrong(err error, hint string) error {
	return &HintError{Err: &kindError{error: err, kind: ErrUsage}, Hint: hint}
}

// kindError is an error that also is of a kind, which does not show in its text.
type kindError struct {
	error
	kind error
}

func (e *kindError) Unwrap() []error { return []error{e.error, e.kind} }
