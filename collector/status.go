package collector

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"hostmeter/collector/tally"
)

// Status is what an operator wants to know of a running collector and no ledger has.
type Status struct {
	Version   int              `json:"version"`
	At        time.Time        `json:"at"`
	Exporters []ExporterStatus `json:"exporters"`
	Knocks    []Knock          `json:"knocks"`
	Twice     []tally.Twice    `json:"twice"`
}

// statusFile is in the state's folder, for commands beside the running collector. It is a witness of the
// last seconds: nothing is read back from it, and a crash may spoil it.
const statusFile = "status.json"

// Status tells how the collector is at the time at.
func (c *Collector) Status(at time.Time) Status {
	return Status{1, at, c.Exporters(), c.Knocks(), c.Twice()}
}

// saveStatus writes the file. That it cannot is no matter of its own: the positions beside it fail, too.
func (c *Collector) saveStatus(at time.Time) {
	if c.deps.StateDir == "" {
		return
	}
	text, err := json.Marshal(c.Status(at))
	path := filepath.Join(c.deps.StateDir, statusFile)
	if err == nil {
		err = os.WriteFile(path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		c.deps.Logger.Debug("the collector's status cannot be written", "path", path, "err", err)
	}
}

// ReadStatus reads what a collector with this StateDir wrote last, within the last ten seconds if it runs.
//
// Errors: fs.ErrNotExist where none has run; of a file that is spoiled.
func ReadStatus(stateDir string) (Status, error) {
	text, err := os.ReadFile(filepath.Join(stateDir, statusFile))
	if err != nil {
		return Status{}, err
	}
	var s Status
	if err := json.Unmarshal(text, &s); err != nil {
		return Status{}, err
	}
	if s.Version != 1 {
		return Status{}, errors.New("the collector's status is of another version")
	}
	return s, nil
}
