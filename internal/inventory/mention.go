package inventory

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// mentionMin is how many characters a name has at least that is looked for in texts: a shorter one is part of
// too many words that mean somebody else.
const mentionMin = 3

// mentions returns what finds the customer's name and e-mail address in a text, as whole words, the longest
// first; nil where neither can be looked for.
func (c Customer) mentions() *regexp.Regexp {
	var words []string
	for _, text := range []string{c.Name, c.Email} {
		if text = strings.TrimSpace(text); len([]rune(text)) >= mentionMin && text != c.ID {
			words = append(words, regexp.QuoteMeta(text))
		}
	}
	if len(words) == 0 {
		return nil
	}
	slices.SortFunc(words, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return regexp.MustCompile(`(?i)(^|[^\pL\pN])(` + strings.Join(words, "|") + `)($|[^\pL\pN])`)
}

// namedIn says whether a text names the customer.
func (c Customer) namedIn(text string) bool {
	mentions := c.mentions()
	return mentions != nil && mentions.MatchString(text)
}

// unname puts the identifier in the place of the customer's name and e-mail address.
func (c Customer) unname(text string) string {
	mentions := c.mentions()
	if mentions == nil {
		return text
	}
	for range 2 { // two that share the character between them are found one after the other
		text = mentions.ReplaceAllString(text, "${1}"+strings.ReplaceAll(c.ID, "$", "$$")+"${3}")
	}
	return text
}
