package httpapi

import (
	"net/http"

	"hostmeter/internal/auth"
)

var errNoPreview = unavailable("the preview of a closing")

// getPreview says what the next closing would do as things are.
func (s *Server) getPreview(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	return s.preview(w, r, func(*http.Request) ([]ImportFile, error) { return nil, nil })
}

// postPreview says what it would do if the files were imported: a correction of ownership, or a decision, is seen as the
// difference that it makes before it is made.
func (s *Server) postPreview(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	return s.preview(w, r, readFiles)
}

func (s *Server) preview(w http.ResponseWriter, r *http.Request, read func(*http.Request) ([]ImportFile, error)) error {
	if s.deps.Backend.Preview == nil {
		return errNoPreview
	}
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	files, err := read(r)
	if err != nil {
		return err
	}
	preview, err := s.deps.Backend.Preview.Preview(r.Context(), files)
	if err != nil {
		return err
	}
	preview.Statements, preview.Adjustments, preview.Problems = notNull(preview.Statements), notNull(preview.Adjustments), notNull(preview.Problems)
	writeJSON(w, http.StatusOK, preview)
	return nil
}
