package collector

// FlushNeverWhole makes every flush that does not have to take all leave meters behind that are not busy.
func (c *Collector) FlushNeverWhole() { c.wholeCells = -1 }
