package collector

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"hostmeter/collector/netflow"
	"hostmeter/schemas"
)

// learned is what an exporter told once and a restarted collector cannot wait for: its templates,
// sampling rates and boot time.
type learned struct {
	Version  int              `json:"version"`
	Exporter string           `json:"exporter"`
	Protocol schemas.Protocol `json:"protocol"`
	// At is when it was written, in nanoseconds since the Unix epoch. The exporter may have told it
	// again since; it is written anew once in 24 hours in which the exporter was heard.
	At    int64         `json:"at"`
	State netflow.State `json:"state"`
}

const (
	// learnedFile is a journal of all exporters.
	learnedFile = "exporters.journal"
	// learnedFolder is where earlier versions wrote a file for each exporter. They are read, and go
	// when the exporter's line is in the journal.
	learnedFolder = "exporters"
	// learnedMost bounds the exporters of one flush; the next one writes the others.
	learnedMost = 128
	// learnedAge is from which age a text is not believed any more.
	learnedAge = 30 * 24 * time.Hour
	// learnedRenew is from which age a text is written anew when its exporter is heard after a restart: it says
	// that it still holds.
	learnedRenew = 24 * time.Hour
	// learnedRetry is for how long nothing is written after a failure.
	learnedRetry = 10 * time.Second
)

// learnedStore keeps what exporters told. It is safe for concurrent use, save by one at a time.
type learnedStore struct {
	journal *journal
	logger  *slog.Logger
	failed  time.Time // when it could last not be saved; zero: it could

	mu    sync.Mutex
	files map[string]string // of an earlier version, not yet in the journal, by name
}

// openLearned reads what there is in a folder. What cannot be read is told and passed over: exporters
// tell it again.
func openLearned(dir string, logger *slog.Logger) *learnedStore {
	s := &learnedStore{logger: logger, files: map[string]string{}}
	path := filepath.Join(dir, learnedFile)
	var err error
	if s.journal, err = openJournal(path); err != nil {
		s.journal = &journal{path: path, places: map[string]place{}}
		logger.Warn("saved templates are not used", "path", path, "err", err)
	}
	if n := s.journal.spoiled; n > 0 {
		logger.Warn("some of the saved templates are not used: their lines are spoiled", "path", path, "lines", n)
	}
	old, _ := filepath.Glob(filepath.Join(dir, learnedFolder, "*.json")) // the pattern is good
	for _, path := range old {
		s.files[strings.TrimSuffix(filepath.Base(path), ".json")] = path
	}
	return s
}

// learnedKey names a source in the store.
func learnedKey(exporter string, protocol schemas.Protocol) string {
	return exporter + "-" + string(protocol)
}

// find returns what was saved of a source.
func (s *learnedStore) find(exporter string, protocol schemas.Protocol) (l learned, found bool, err error) {
	key := learnedKey(exporter, protocol)
	text, err := s.journal.find(key)
	if text == nil && err == nil {
		s.mu.Lock()
		path := s.files[key]
		s.mu.Unlock()
		if path == "" {
			return l, false, nil
		}
		text, err = os.ReadFile(path)
	}
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	switch {
	case err != nil:
	case l.Version != 1:
		err = fmt.Errorf("it is of version %d", l.Version)
	case l.Exporter != exporter || l.Protocol != protocol:
		err = fmt.Errorf("it is of %s, %s", l.Exporter, l.Protocol)
	}
	return l, err == nil, err
}

// due says whether save may be called: after a failure not at once.
func (s *learnedStore) due(at time.Time) bool {
	return s.failed.IsZero() || at.Sub(s.failed).Abs() >= learnedRetry
}

// save writes what was learned down, all of it or says false. That it cannot is told once.
func (s *learnedStore) save(news []learned, at time.Time) bool {
	entries := make([]entry, 0, len(news))
	var err error
	for _, l := range news {
		text, failed := json.Marshal(l)
		err = errors.Join(err, failed)
		entries = append(entries, entry{learnedKey(l.Exporter, l.Protocol), text})
	}
	if err == nil {
		err = s.journal.save(entries, at, learnedAge)
	}
	if err != nil {
		if s.failed.IsZero() {
			s.logger.Error("templates cannot be saved: after a restart, flows wait until exporters send them again", "err", err)
		}
		s.failed = at
		return false
	}
	s.failed = time.Time{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		if path := s.files[e.key]; path != "" {
			delete(s.files, e.key)
			_ = os.Remove(path) // it would be read if the journal's line is spoiled, and is as good as none
			_ = os.Remove(filepath.Dir(path))
		}
	}
	return true
}

// saveLearned writes down what sources were told that is new since it was last written. It says whether there
// is more. The caller has flushMu.
func (c *Collector) saveLearned(at time.Time) (more bool) {
	if c.learned == nil || !c.learned.due(at) {
		return false
	}
	sources, news := c.news(at)
	if len(news) == 0 || c.learned.save(news, at) {
		return len(news) == learnedMost
	}
	for _, s := range sources {
		l := c.lanes[c.laneOf(s.exporter.addr)]
		l.mu.Lock()
		s.learned = 0 // again
		l.mu.Unlock()
	}
	return false
}

// news takes what is to be written, of learnedMost sources at most.
func (c *Collector) news(at time.Time) (sources []*source, news []learned) {
	for _, l := range c.lanes {
		l.mu.Lock()
		for _, e := range l.exporters {
			for _, s := range e.sources {
				if s.flows == nil || s.flows.Revision() == s.learned || len(news) == learnedMost {
					continue
				}
				s.learned = s.flows.Revision()
				sources = append(sources, s)
				news = append(news, learned{1, e.text, s.protocol, at.UnixNano(), s.flows.State()})
			}
		}
		l.mu.Unlock()
	}
	return sources, news
}

// restoreLearned gives a new source what its exporter told the collector before.
func (l *lane) restoreLearned(s *source) {
	if s.flows == nil || l.learned == nil {
		return
	}
	saved, found, err := l.learned.find(s.exporter.text, s.protocol)
	if err != nil {
		l.deps.Logger.Warn("saved templates are not used", "exporter", s.exporter.text, "protocol", string(s.protocol), "err", err)
	}
	now := l.deps.Clock.Now()
	if !found || now.Sub(time.Unix(0, saved.At)) > learnedAge {
		return
	}
	s.flows.RestoreState(saved.State, now)
	s.learned = s.flows.Revision()
	s.stale = now.Sub(time.Unix(0, saved.At)) >= learnedRenew
}
