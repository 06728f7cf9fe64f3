package virtualizor

import (
	"encoding/json"
	"testing"
	"time"

	"hostmeter/internal/inventory"
)

// FuzzAnswer reads any text as a page of virtual servers; what can be read makes an import file that can
// be read.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"37": {"vpsid": "37", "time": "1534260671", "uid": "55", "plid": "1", "bandwidth": "1", "email": "a@example.net", "ips": {"2": "192.0.2.1"}}}`))
	f.Add([]byte(`{"37": {"time": 1, "ips": ["2001:db8::/64"], "hostname": "\u0000\"}"}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		servers, err := byID[wireServer](json.RawMessage(text))
		if err != nil {
			return
		}
		state := &State{}
		for id, w := range servers {
			server, err := w.server(id)
			if err != nil {
				return
			}
			state.Servers = append(state.Servers, server)
		}
		rows, _, err := Rows(state, &inventory.Snapshot{}, DefaultOptions(), state.created())
		if err != nil {
			return
		}
		if _, faults := inventory.ReadFiles([]inventory.File{{Name: "import.yaml", Text: YAML(rows)}}); len(faults) > 0 {
			t.Fatalf("%v\n%s", faults, YAML(rows))
		}
	})
}

func (s *State) created() (at time.Time) {
	for _, server := range s.Servers {
		if server.Created.After(at) {
			at = server.Created
		}
	}
	return at
}
