package inventory

import "hostmeter/aggregator/rating"

// within cuts an ownership to [opened, closed) of its service, in the contract's zone: what is used outside of it is
// nobody's. Where nothing is left, Until is not after From.
func (o Ownership) within(c rating.Contract) Ownership {
	if !c.Opened.IsZero() {
		o.From = later(o.From, c.Opened.In(c.Schedule.Zone))
	}
	return o.endedWith(c)
}

// endedWith ends an ownership with its service.
func (o Ownership) endedWith(c rating.Contract) Ownership {
	if c.Closed.IsZero() {
		return o
	}
	if closed := c.Closed.In(c.Schedule.Zone); o.Until.IsZero() || o.Until.After(closed) {
		o.Until = closed
	}
	return o
}

// endWithService ends a row of ownership with its service, where that is closed and the row begins before.
func (c *change) endWithService(o Ownership) Ownership {
	service, ok := c.services.rows[o.Service]
	if !ok || service.Closed.IsZero() {
		return o
	}
	contract, ok := c.firstTerms(o.Service)
	if !ok { // it is said elsewhere
		return o
	}
	if ended := o.endedWith(contract); ended.Until.After(o.From) {
		return ended
	}
	return o
}

// endOwnerships ends what is stored as owned by services that are closed: from then on nobody owns it, what was told
// before is corrected, and whoever asks for the ownership sees it.
func (c *change) endOwnerships() {
	for _, o := range c.ownership.sorted() {
		ended := c.endWithService(o)
		if ended.Until.Equal(o.Until) {
			continue
		}
		text := ended.row()
		c.ownership.rows[kindOwnership.keyOf(text)] = ended
		c.edits = append(c.edits, edit{kind: &kindOwnership, old: o.row(), new: text})
	}
}
