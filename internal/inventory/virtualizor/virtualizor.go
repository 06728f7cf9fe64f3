// Package virtualizor reads services, addresses and plans out of a Virtualizor and writes them as an import
// file.
//
// It owns how a Virtualizor's words become ours: a user is a customer, a virtual server a service, a plan's
// bandwidth a quota. It compares with what the inventory has, because a Virtualizor remembers no past: an
// address that has moved is given an end at its old service and a begin at its new one, and what is gone
// is closed. It changes nothing itself: a person reads the file, and the import checks it.
//
// Source: Virtualizor, admin API, list of virtual servers, users and plans.
package virtualizor

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/inventory"
)

// State is what a Virtualizor has.
type State struct {
	Plans   map[int64]Plan
	Users   map[int64]User
	Servers []Server // by id
}

// Plan is a plan; Bandwidth is in GB as Virtualizor counts them, a month, and 0 is no limit.
type Plan struct {
	ID        int64
	Name      string
	Bandwidth int64
}

// User is who owns virtual servers.
type User struct {
	ID    int64
	Email string
}

// Server is a virtual server.
type Server struct {
	ID        int64
	Hostname  string
	Email     string // of its user
	User      int64
	Plan      int64 // 0: none
	Bandwidth int64
	Created   time.Time
	Addresses []netip.Prefix
}

// Options are what a Virtualizor does not know.
type Options struct {
	// Prefix stands before ids: "vz-" makes service vz-37 of server 37 and customer vz-u55 of user 55. It
	// keeps several Virtualizors apart, and says which services are looked after here.
	Prefix string
	// Unit is what a Virtualizor's GB is: GB (10^9 octets) or GiB, which its own counter means.
	Unit rating.Unit
	// Place and Currency are those of new services; Class, Period and Block of new plans.
	Place, Currency, Class, Period, Block string
	// Since is from when on addresses belong to services that are new here; not before the server was
	// made.
	Since time.Time
	// MayClose is how many services may be closed at once; more are taken for a fault.
	MayClose int
}

// DefaultOptions returns the options of an ordinary Virtualizor.
func DefaultOptions() Options {
	return Options{Prefix: "vz-", Unit: rating.GiB, Class: "vps", Period: string(rating.Anniversary), Block: "0.1 TB", MayClose: 10}
}

// ErrManyGone says that more services are gone than a person would expect.
var ErrManyGone = errors.New("too many services are gone")

// Rows returns what is to be imported so that the inventory says what the Virtualizor says at a time, and
// remarks for a person. Settings that only the inventory knows stay as they are.
//
// Errors: ErrManyGone; servers that two of our services would share.
func Rows(state *State, known *inventory.Snapshot, options Options, at time.Time) (rows []inventory.Row, remarks []string, err error) {
	c := conversion{state: state, known: known, options: options, at: inventory.SlotAfter(at.UTC()), zone: time.UTC}
	if zone, err := time.LoadLocation(known.Provider.TimeZone); err == nil && known.Provider.TimeZone != "" {
		c.zone = zone
	}
	for _, step := range []func() error{c.plans, c.customers, c.services, c.gone, c.addresses} {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	return c.rows, c.remarks, nil
}

type conversion struct {
	state   *State
	known   *inventory.Snapshot
	options Options
	at      time.Time
	zone    *time.Location
	rows    []inventory.Row
	remarks []string
	names   map[int64]string  // of plans
	quotas  map[string]string // by plan, as the inventory will have them
	unknown map[string]bool   // services that were not known before
}

func (c *conversion) add(section string, cells map[string]string) {
	c.rows = append(c.rows, inventory.Row{Section: section, Cells: cells})
}

func (c *conversion) remark(format string, args ...any) {
	c.remarks = append(c.remarks, fmt.Sprintf(format, args...))
}

func (c *conversion) quota(gigabytes int64) string {
	if gigabytes == 0 {
		return "unlimited"
	}
	return strconv.FormatInt(gigabytes, 10) + " " + string(c.options.Unit)
}

// plans takes the plans that servers are of, in the order of their ids.
func (c *conversion) plans() error {
	c.names, c.quotas = map[int64]string{}, map[string]string{}
	taken := map[string]bool{}
	var ids []int64
	for _, s := range c.state.Servers {
		if !slices.Contains(ids, s.Plan) {
			ids = append(ids, s.Plan)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		plan := c.state.Plans[id] // the zero plan is no plan: without a limit of its own
		name := c.options.Prefix + idText(plan.Name)
		if plan.Name == "" {
			name = c.options.Prefix + "plan-" + strconv.FormatInt(id, 10)
		}
		if taken[name] {
			name += "-" + strconv.FormatInt(id, 10)
		}
		taken[name], c.names[id] = true, name
		cells := map[string]string{"name": name, "class": c.options.Class, "period": c.options.Period, "block": c.options.Block}
		cells["quota"] = c.quota(plan.Bandwidth)
		if p, ok := c.known.PlanByName(name); ok {
			if quota := c.planQuota(p); !sameQuota(quota, cells["quota"]) {
				c.remark("plan %s has %s here and %s in the Virtualizor: it stays as it is, because another quota would apply to the past too; what differs is ordered for each service", name, orNone(quota), cells["quota"])
			}
			cells = p.Cells()
			c.quotas[name] = c.planQuota(p)
		} else {
			c.quotas[name] = cells["quota"]
		}
		c.add("plans", cells)
	}
	return nil
}

// planQuota returns the quota of a service of a plan, without one of its own; empty where there is none.
func (c *conversion) planQuota(p inventory.Plan) string {
	if p.Quota.Unit != "" {
		return p.Quota.String()
	}
	return c.known.Provider.Quota.String()
}

// sameQuota says whether two quotas are the same, as 1 TiB and 1024 GiB are; none is the same as no other. A quota of
// a rate is not one of a Virtualizor's, and passes for the same.
func sameQuota(a, b string) bool {
	one, err := rating.ParseQuantity(a)
	two, wrong := rating.ParseQuantity(b)
	return err == nil && wrong == nil && (one.Unit.IsRate() || two.Unit.IsRate() || one.Compare(two) == 0)
}

func orNone(text string) string { return cmp.Or(text, "none") }

// idText makes an id of a name: no spaces or control characters, at most 60 octets.
func idText(name string) string {
	id := strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }), "-")
	if len(id) > 60 {
		id = strings.ToValidUTF8(id[:60], "")
	}
	return id
}

func (c *conversion) customerID(user int64) string {
	return c.options.Prefix + "u" + strconv.FormatInt(user, 10)
}

func (c *conversion) serviceID(server int64) string {
	return c.options.Prefix + strconv.FormatInt(server, 10)
}

func (c *conversion) customers() error {
	done := map[int64]bool{}
	for _, s := range c.state.Servers {
		if done[s.User] {
			continue
		}
		done[s.User] = true
		email := c.state.Users[s.User].Email
		if email == "" {
			email = s.Email
		}
		id := c.customerID(s.User)
		cells := map[string]string{"id": id, "name": cmp.Or(email, id)}
		if known, ok := c.known.CustomerByID(id); ok {
			cells = known.Cells()
		}
		if email != "" && c.known.Named(id) {
			cells["email"] = email
		}
		c.add("customers", cells)
	}
	return nil
}

func (c *conversion) services() error {
	c.unknown = map[string]bool{}
	for _, s := range c.state.Servers {
		known, ok := c.known.ServiceByID(c.serviceID(s.ID))
		if !ok {
			c.unknown[c.serviceID(s.ID)] = true
			c.newService(s)
			continue
		}
		if err := c.knownService(s, known); err != nil {
			return err
		}
	}
	return nil
}

func (c *conversion) newService(s Server) {
	cells := map[string]string{"id": c.serviceID(s.ID), "customer": c.customerID(s.User), "plan": c.names[s.Plan], "place": c.options.Place,
		"currency": c.options.Currency, "opened": rating.DateOf(s.Created.In(c.zone)).String()}
	if quota := c.quota(s.Bandwidth); !sameQuota(quota, c.quotas[c.names[s.Plan]]) {
		cells["quota"] = quota
	}
	c.add("services", cells)
}

// knownService leaves the terms that a service was opened with as they are: they would apply to the past. What
// differs now is ordered now.
func (c *conversion) knownService(s Server, known inventory.Service) error {
	cells := known.Cells()
	if c.over(known) {
		c.remark("service %s was closed on %s and is there again", known.ID, known.Closed)
		delete(cells, "closed")
	}
	if owner := c.customerID(s.User); known.Customer != owner {
		c.remark("service %s belongs to customer %s here and to %s in the Virtualizor: it is not moved, because its open period would move too; close it and open another, or import it with the other customer",
			known.ID, known.Customer, owner)
	}
	c.add("services", cells)
	return c.change(s, known)
}

// change orders the plan and the quota that a server has, where its service has neither now nor ordered them.
func (c *conversion) change(s Server, known inventory.Service) error {
	now, err := c.known.Contract(known.ID, c.at)
	if err != nil {
		return err
	}
	ordered, err := c.known.Ordered(known.ID, c.at)
	if err != nil {
		return err
	}
	if c.different(s, ordered) == nil {
		return nil
	}
	cells := c.different(s, now) // a new order takes the place of one that waits
	if cells == nil {
		c.remark("service %s has another plan or quota ordered, which waits and which the Virtualizor does not have: %s, %s", known.ID, ordered.Plan, ordered.Quota.Value)
		return nil
	}
	cells["service"], cells["at"] = known.ID, c.at.Format(time.RFC3339Nano)
	c.add("changes", cells)
	return nil
}

// different returns what a change must say so that a service has the plan and the quota of its server; nil where
// it has. A quota of a rate is none of a Virtualizor's, and stays.
func (c *conversion) different(s Server, has rating.Contract) map[string]string {
	plan, quota := c.names[s.Plan], c.quota(s.Bandwidth)
	if has.Quota.Value.Unit.IsRate() {
		quota = has.Quota.Value.String()
	}
	cells := map[string]string{}
	then := has.Quota.Value.String()
	if has.Plan != plan {
		cells["plan"] = plan
		then = c.quotas[plan]
	}
	own := has.Quota.Level == rating.FromContract
	if !sameQuota(then, quota) || own && len(cells) > 0 {
		cells["quota"] = quota
	}
	if len(cells) == 0 {
		return nil
	}
	return cells
}

// gone closes the services that are looked after here and that the Virtualizor no longer has.
func (c *conversion) gone() error {
	there := map[string]bool{}
	for _, s := range c.state.Servers {
		there[c.serviceID(s.ID)] = true
	}
	n, tomorrow := 0, c.today().AddDays(1) // what it used today is its own
	for _, known := range c.known.Services() {
		if there[known.ID] || c.over(known) || known.Closed == tomorrow || !c.ours(known.ID) {
			continue
		}
		n++
		cells := known.Cells()
		cells["closed"] = tomorrow.String()
		c.add("services", cells)
		c.remark("service %s is gone and is closed", known.ID)
	}
	if n > c.options.MayClose {
		return fmt.Errorf("%d of them: %w; where that is right, allow so many", n, ErrManyGone)
	}
	return nil
}

func (c *conversion) today() rating.Date { return rating.DateOf(c.at.In(c.zone)) }

// over says whether a service is closed by now, and not only to be closed on a day to come.
func (c *conversion) over(s inventory.Service) bool {
	return !s.Closed.IsZero() && s.Closed.Compare(c.today()) <= 0
}

// ours says whether a service is of this Virtualizor: the prefix and a number.
func (c *conversion) ours(service string) bool {
	digits, ok := strings.CutPrefix(service, c.options.Prefix)
	_, err := strconv.ParseUint(digits, 10, 63)
	return ok && err == nil
}

// addresses gives each address to its service, and takes those back that a service no longer has.
func (c *conversion) addresses() error {
	wanted := map[string]string{} // service by key
	created := map[string]time.Time{}
	for _, s := range c.state.Servers {
		created[c.serviceID(s.ID)] = s.Created
		for _, prefix := range s.Addresses {
			key := keyOf(prefix)
			if other := wanted[key]; other != "" {
				return fmt.Errorf("%s belongs to %s and to %s in the Virtualizor: correct it there", key, other, c.serviceID(s.ID))
			}
			wanted[key] = c.serviceID(s.ID)
		}
	}
	had := map[string]bool{}
	for _, o := range c.known.Ownerships() {
		key := string(o.Key)
		open := o.Until.IsZero() || o.Until.After(c.at)
		switch {
		case !open:
		case wanted[key] == o.Service:
			had[key] = true
		case o.From.After(c.at):
			c.remark("%s is to belong to %s from %s, which the Virtualizor does not know: look at it", key, o.Service, o.From.Format(time.RFC3339))
		case c.ours(o.Service) && strings.HasPrefix(key, "address:"):
			c.add("ownership", ownershipCells(key, o.Service, o.From, c.at))
		case wanted[key] != "":
			had[key] = true
			c.remark("%s belongs to %s, which is not of this Virtualizor; %s does not get it", key, o.Service, wanted[key])
		}
	}
	for _, s := range c.state.Servers {
		for _, prefix := range s.Addresses {
			key := keyOf(prefix)
			if had[key] {
				continue
			}
			from := c.at
			if service := wanted[key]; c.unknown[service] && !c.everOwned(key) && !c.options.Since.IsZero() {
				from = inventory.SlotAfter(latest(c.options.Since, created[service]))
			}
			c.add("ownership", ownershipCells(key, wanted[key], from, time.Time{}))
		}
	}
	return nil
}

// everOwned says whether anybody had a key before: then its past is not to be told anew.
func (c *conversion) everOwned(key string) bool {
	return slices.ContainsFunc(c.known.Ownerships(), func(o inventory.Ownership) bool { return string(o.Key) == key })
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a.UTC()
	}
	return b.UTC()
}

func keyOf(prefix netip.Prefix) string {
	if prefix.IsSingleIP() {
		return "address:" + prefix.Addr().String()
	}
	return "address:" + prefix.String()
}

func ownershipCells(key, service string, from, until time.Time) map[string]string {
	cells := map[string]string{"key": key, "service": service, "from": from.UTC().Format(time.RFC3339Nano)}
	if !until.IsZero() {
		cells["until"] = until.UTC().Format(time.RFC3339Nano)
	}
	return cells
}

// YAML writes rows as an import file.
func YAML(rows []inventory.Row) []byte {
	var b strings.Builder
	section := ""
	for _, name := range inventory.Sections() {
		for _, row := range rows {
			if row.Section != name {
				continue
			}
			if section != name {
				section = name
				b.WriteString(name + ":\n")
			}
			var cells []string
			for _, column := range inventory.Columns(name) {
				if value := row.Cells[column]; value != "" {
					text, _ := json.Marshal(value) // of a text; YAML reads JSON's texts
					cells = append(cells, column+": "+string(text))
				}
			}
			b.WriteString("  - {" + strings.Join(cells, ", ") + "}\n")
		}
	}
	return []byte(b.String())
}
