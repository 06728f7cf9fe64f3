package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"

	"hostmeter/internal/auth"
)

func (s *Server) getCustomers(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	return listInventory(s, w, r, Inventory.Customers)
}

func (s *Server) getServices(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	return listInventory(s, w, r, Inventory.Services)
}

func (s *Server) getPools(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	return listInventory(s, w, r, Inventory.Pools)
}

func (s *Server) getPoolMembers(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	return listInventory(s, w, r, Inventory.PoolMembers)
}

func (s *Server) getPlans(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	return listInventory(s, w, r, Inventory.Plans)
}

func (s *Server) getPrices(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	return listInventory(s, w, r, Inventory.Prices)
}

func (s *Server) getPrefixes(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	return listInventory(s, w, r, Inventory.Prefixes)
}

func (s *Server) getOwnership(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	return listInventory(s, w, r, Inventory.Ownership)
}

func (s *Server) putCustomers(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	return putInventory(s, w, r, who, func(c *InventoryChange) *[]Customer { return &c.Customers })
}

func (s *Server) putServices(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	return putInventory(s, w, r, who, func(c *InventoryChange) *[]Service { return &c.Services })
}

func (s *Server) putPools(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	return putInventory(s, w, r, who, func(c *InventoryChange) *[]Pool { return &c.Pools })
}

func (s *Server) putPoolMembers(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	return putInventory(s, w, r, who, func(c *InventoryChange) *[]PoolMember { return &c.PoolMembers })
}

func (s *Server) putPlans(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	return putInventory(s, w, r, who, func(c *InventoryChange) *[]Plan { return &c.Plans })
}

func (s *Server) putPrices(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	return putInventory(s, w, r, who, func(c *InventoryChange) *[]Price { return &c.Prices })
}

func (s *Server) putPrefixes(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	return putInventory(s, w, r, who, func(c *InventoryChange) *[]Prefix { return &c.Prefixes })
}

func (s *Server) putOwnership(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	return putInventory(s, w, r, who, func(c *InventoryChange) *[]Ownership { return &c.Ownership })
}

var errNoInventory = unavailable("the inventory")

// listInventory answers with all rows of a kind.
func listInventory[T any](s *Server, w http.ResponseWriter, r *http.Request, read func(Inventory, context.Context) ([]T, error)) error {
	if s.deps.Backend.Inventory == nil {
		return errNoInventory
	}
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	list, err := read(s.deps.Backend.Inventory, r.Context())
	return writeList(w, r, list, err)
}

// putInventory adds or changes the rows of a kind that the body lists, all or nothing.
func putInventory[T any](s *Server, w http.ResponseWriter, r *http.Request, who auth.Identity, part func(*InventoryChange) *[]T) error {
	if s.deps.Backend.Inventory == nil {
		return errNoInventory
	}
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	var change InventoryChange
	if err := readJSON(r, part(&change)); err != nil {
		return err
	}
	if len(*part(&change)) == 0 {
		return badRequest("the list is empty", "send an array of rows; what is not named stays as it is")
	}
	difference, err := s.deps.Backend.Inventory.Put(r.Context(), change, Actor(who.Actor()))
	if err != nil {
		return err
	}
	difference.Lines = notNull(difference.Lines)
	writeJSON(w, http.StatusOK, difference)
	return nil
}

// importFilesMax bounds the files of one import.
const importFilesMax = 32

// postImport reads one YAML file as the body, or several YAML and CSV files as multipart/form-data.
func (s *Server) postImport(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Inventory == nil {
		return errNoInventory
	}
	p := readParams(r, s.zone, "dry_run")
	dryRun := p.flag("dry_run")
	if err := p.error(); err != nil {
		return err
	}
	files, err := readFiles(r)
	if err != nil {
		return err
	}
	difference, err := s.deps.Backend.Inventory.Import(r.Context(), files, dryRun != nil && *dryRun, Actor(who.Actor()))
	if err != nil {
		return err
	}
	difference.Lines = notNull(difference.Lines)
	writeJSON(w, http.StatusOK, difference)
	return nil
}

func readFiles(r *http.Request) ([]ImportFile, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == "multipart/form-data":
		reader, err := r.MultipartReader()
		if err != nil {
			return nil, badRequest("the parts cannot be read", "send each file as a part with a file name")
		}
		return readParts(reader)
	case err == nil && (kind == "application/yaml" || kind == "application/x-yaml" || kind == "text/yaml"):
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if len(text) == 0 {
			return nil, errEmpty
		}
		return []ImportFile{{Name: "import.yaml", Text: text}}, nil
	}
	return nil, &problem{Status: http.StatusUnsupportedMediaType, Message: "the body is neither YAML nor files",
		Hint: "send Content-Type: application/yaml, or files as multipart/form-data (curl -F file=@customers.csv)"}
}

func readParts(reader *multipart.Reader) ([]ImportFile, error) {
	var files []ImportFile
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, partError(err)
		}
		if part.FileName() == "" || len(files) == importFilesMax {
			return nil, badRequest("a part without a file name, or too many", fmt.Sprintf("send at most %d files", importFilesMax))
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return nil, partError(err)
		}
		files = append(files, ImportFile{Name: part.FileName(), Text: text})
	}
	if len(files) == 0 {
		return nil, errEmpty
	}
	return files, nil
}

// partError keeps the error that tells a body from being too large.
func partError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	return badRequest("the parts cannot be read", "send each file as a part with a file name")
}
