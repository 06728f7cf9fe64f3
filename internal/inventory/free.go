package inventory

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"hostmeter/schemas"
)

// parseFree reads traffic classes, "backup peering", or "none" to take back what a plan has.
func parseFree(text string) (string, error) {
	classes := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == ';' })
	for _, class := range classes {
		switch {
		case class == schemas.ClassInternal:
			return "", errors.New("internal: it counts only where the setting internal is true")
		case class == schemas.ClassPort || class == schemas.ClassExternal:
			return "", fmt.Errorf("%s: is what the contract bills", class)
		case class == "none" && len(classes) > 1, strings.Trim(class, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "":
			return "", fmt.Errorf("%q: want names of traffic classes, as backup peering, or none", text)
		}
	}
	slices.Sort(classes)
	return strings.Join(slices.Compact(classes), " "), nil
}

// checkFree refuses a traffic class that the collectors do not tell: it would be free and have no effect.
func (c *change) checkFree(row Row) {
	text, err := parseFree(row.Cells["free"])
	if err != nil || text == "none" || c.classes == nil {
		return
	}
	for _, class := range strings.Fields(text) {
		switch {
		case slices.Contains(c.classes, class):
		case len(c.classes) == 0:
			c.fault(row.at("free"), "free: %q: there is no such traffic class: name it in collector.classes of the configuration, with the prefixes of its remote ends", class)
		default:
			c.fault(row.at("free"), "free: %q: there is no such traffic class; collector.classes of the configuration has %s", class, strings.Join(c.classes, ", "))
		}
	}
}
