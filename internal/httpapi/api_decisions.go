package httpapi

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"hostmeter/internal/auth"
)

func (s *Server) getChanges(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	return listInventory(s, w, r, Inventory.Changes)
}

func (s *Server) getDecisions(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	return listInventory(s, w, r, Inventory.Decisions)
}

// postChange orders another plan or quota for a service, by the checks of an import. Without a time it is now.
func (s *Server) postChange(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	var order Change
	return s.postInventory(w, r, who, &order, func() (InventoryChange, any) {
		order.At = cmp.Or(order.At, s.deps.Clock.Now().UTC().Truncate(time.Second).Format(time.RFC3339))
		return InventoryChange{Changes: []Change{order}}, order
	})
}

// decisionAsked is a Decision without its By, which is who asks. An id makes a repeat harmless; without one, there is
// a new decision each time.
type decisionAsked struct {
	ID        string `json:"id"`
	Service   string `json:"service"`
	Decision  string `json:"decision"`
	From      string `json:"from"`
	Until     string `json:"until"`
	Direction string `json:"direction"`
	Amount    string `json:"amount"`
	Beyond    string `json:"beyond"`
	Revokes   string `json:"revokes"`
	Reason    string `json:"reason"`
}

// postDecision decides something about a service, by the checks of an import.
func (s *Server) postDecision(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	var asked decisionAsked
	return s.postInventory(w, r, who, &asked, func() (InventoryChange, any) {
		d := Decision{ID: cmp.Or(asked.ID, newDecisionID()), Service: asked.Service, Decision: asked.Decision, From: asked.From, Until: asked.Until,
			Direction: asked.Direction, Amount: asked.Amount, Beyond: asked.Beyond, Revokes: asked.Revokes, By: who.Actor(), Reason: asked.Reason}
		return InventoryChange{Decisions: []Decision{d}}, d
	})
}

func newDecisionID() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return "d-" + hex.EncodeToString(random[:])
}

// postInventory reads a body into asked, and puts what ask makes of it; the answer is what was stored.
func (s *Server) postInventory(w http.ResponseWriter, r *http.Request, who auth.Identity, asked any, ask func() (InventoryChange, any)) error {
	if s.deps.Backend.Inventory == nil {
		return errNoInventory
	}
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	if err := readJSON(r, asked); err != nil {
		return err
	}
	change, stored := ask()
	if _, err := s.deps.Backend.Inventory.Put(r.Context(), change, Actor(who.Actor())); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, stored)
	return nil
}

var errNoCredits = unavailable("credits")

func (s *Server) getCredits(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if s.deps.Backend.Credits == nil {
		return errNoCredits
	}
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	list, err := s.deps.Backend.Credits.Credits(r.Context())
	return writeList(w, r, list, err)
}

func (s *Server) postCredit(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Credits == nil {
		return errNoCredits
	}
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	var asked struct {
		Statement string `json:"statement"`
		Reason    string `json:"reason"`
	}
	if err := readJSON(r, &asked); err != nil {
		return err
	}
	decision, err := s.allowCredit(r, who, asked.Statement, asked.Reason)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, decision)
	return nil
}

func (s *Server) formCredit(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Credits == nil {
		return errNoCredits
	}
	if err := r.ParseForm(); err != nil {
		return formError(err)
	}
	if _, err := s.allowCredit(r, who, r.PostForm.Get("statement"), r.PostForm.Get("reason")); err != nil {
		return err
	}
	http.Redirect(w, r, "/finance#credits", http.StatusSeeOther)
	return nil
}

func (s *Server) allowCredit(r *http.Request, who auth.Identity, statement, reason string) (Decision, error) {
	if err := checkReason(reason); err != nil {
		return Decision{}, err
	}
	return s.deps.Backend.Credits.AllowCredit(r.Context(), statement, strings.TrimSpace(reason), Actor(who.Actor()))
}
