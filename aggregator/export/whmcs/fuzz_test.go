package whmcs

import (
	"encoding/json"
	"errors"
	"testing"
)

// FuzzAnswer reads any text as an answer: only what says success is taken for one, and no list panics.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"result":"success","billableid":"7"}`))
	f.Add([]byte(`{"result":"error","message":"Client ID not Found"}`))
	f.Add([]byte(`{"result":"success","totalresults":"1","invoices":{"invoice":{"0":{"id":"1","date":"2026-11-01"}}}}`))
	f.Add([]byte(`{"result":"success","invoices":""}`))
	f.Add([]byte(`<html>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var answer struct {
			ID       number          `json:"billableid"`
			Invoices json.RawMessage `json:"invoices"`
		}
		err := decode("AddBillableItem", text, &answer)
		var plain struct{ Result string }
		if err == nil && (json.Unmarshal(text, &plain) != nil || plain.Result != "success") {
			t.Fatalf("%q was taken for success", text)
		}
		if errors.Is(err, ErrRefused) && plain.Result == "success" {
			t.Fatalf("%q was taken for a refusal", text)
		}
		_, _ = inner[invoice](answer.Invoices, "invoice") // an error is an answer
	})
}
