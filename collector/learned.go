package collector

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"hostmeter/collector/netflow"
	"hostmeter/schemas"
)

// learned is the file of what an exporter told once and a restarted collector cannot wait for: its
// templates, sampling rates and boot time.
type learned struct {
	Version  int              `json:"version"`
	Exporter string           `json:"exporter"`
	Protocol schemas.Protocol `json:"protocol"`
	// At is when it was written, in nanoseconds since the Unix epoch. The exporter may have told it
	// again since, which changes nothing and is not written.
	At    int64         `json:"at"`
	State netflow.State `json:"state"`
}

const (
	learnedFolder = "exporters"
	// learnedMost bounds the files of one flush; the next one writes the others.
	learnedMost = 64
	// learnedAge is from which age a file is not believed any more.
	learnedAge = 30 * 24 * time.Hour
)

// learnedPath is where a source's file is.
func (c *Collector) learnedPath(s *source) string {
	return filepath.Join(c.deps.StateDir, learnedFolder, s.exporter.text+"-"+string(s.protocol)+".json")
}

// saveLearned writes the files of the sources that were told something new since they were written.
// That one cannot be written is told once and does not stop the collector.
func (c *Collector) saveLearned(at time.Time) {
	if !c.recovers {
		return
	}
	type file struct {
		source  *source
		learned learned
	}
	var files []file
	c.mu.Lock()
	for _, e := range c.exporters {
		for _, s := range e.sources {
			if s.flows == nil || s.flows.Revision() == s.learned || len(files) == learnedMost {
				continue
			}
			s.learned = s.flows.Revision()
			files = append(files, file{s, learned{1, e.text, s.protocol, at.UnixNano(), s.flows.State()}})
		}
	}
	c.mu.Unlock()
	var failed error
	for _, f := range files {
		text, err := json.Marshal(f.learned)
		if err == nil {
			err = replaceFile(c.learnedPath(f.source), text)
		}
		if err != nil {
			failed = err
			c.mu.Lock()
			f.source.learned = 0 // again at the next flush
			c.mu.Unlock()
		}
	}
	if failed != nil && !c.unsaved {
		c.deps.Logger.Error("templates cannot be saved: after a restart, flows wait until exporters send them again", "err", failed)
	}
	c.unsaved = failed != nil
}

// restoreLearned gives a new source what its exporter told the collector before.
func (c *Collector) restoreLearned(s *source) {
	if s.flows == nil || !c.recovers {
		return
	}
	path := c.learnedPath(s)
	l, err := readLearned(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err == nil && (l.Exporter != s.exporter.text || l.Protocol != s.protocol):
		err = fmt.Errorf("it is of %s, %s", l.Exporter, l.Protocol)
	}
	if err != nil {
		c.deps.Logger.Warn("saved templates are not used", "path", path, "err", err)
		return
	}
	now := c.deps.Clock.Now()
	if now.Sub(time.Unix(0, l.At)) > learnedAge {
		return
	}
	s.flows.RestoreState(l.State, now)
	s.learned = s.flows.Revision()
}

func readLearned(path string) (learned, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return learned{}, err
	}
	var l learned
	if err := json.Unmarshal(text, &l); err != nil {
		return learned{}, err
	}
	if l.Version != 1 {
		return learned{}, fmt.Errorf("it is of version %d", l.Version)
	}
	return l, nil
}
