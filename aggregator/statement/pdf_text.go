package statement

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode"

	"codeberg.org/go-pdf/fpdf"
	"github.com/go-fonts/dejavu/dejavusans"
	"github.com/go-fonts/liberation/liberationsansbold"
	"github.com/go-fonts/liberation/liberationsansregular"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/text/unicode/bidi"
)

// The page, in millimetres.
const (
	pageWidth, pageHeight = 210.0, 297.0
	pageMargin            = 18.0
	textWidth             = pageWidth - 2*pageMargin
	pageBottom            = pageHeight - 20
)

// missingGlyph stands for a character that neither font has.
const missingGlyph = '□'

// colour is red, green and blue.
type colour [3]int

// The colours are those of the pages on the web.
var (
	ink        = colour{0x17, 0x22, 0x2b}
	dim        = colour{0x5d, 0x69, 0x72}
	rule       = colour{0xdf, 0xe4, 0xe8}
	paperShade = colour{0xf6, 0xf7, 0xf8}
	accent     = colour{0x1f, 0x6e, 0xa8}
	uncounted  = colour{0xc9, 0xd1, 0xd7}
	soft       = colour{0x9c, 0xc3, 0xdf}
	over       = colour{0xa8, 0x24, 0x1f}
	overBar    = colour{0xcf, 0x42, 0x39}
	gapShade   = colour{0xf4, 0xcd, 0xc9}
	nearSoft   = colour{0xfb, 0xf1, 0xd9}
	near       = colour{0x8a, 0x5a, 0x00}
)

// document is a PDF that is drawn from the top of a page to its end.
type document struct {
	pdf      *fpdf.Fpdf
	y        float64
	fonts    [2]*sfnt.Font // what is written in, and what has what the first has not
	names    [2]string
	fallback bool // the second one is in the file
	glyphs   sfnt.Buffer
	known    [2]map[rune]bool // what has said
	size     float64
	bold     bool
	colour   colour
	newPage  func() // draws the head of a further page
}

func newDocument(title, author string, created time.Time) (*document, error) {
	d := &document{pdf: fpdf.New("P", "mm", "A4", ""), names: [2]string{"liberation", "dejavu"}, known: [2]map[rune]bool{{}, {}}}
	for i, ttf := range [][]byte{liberationsansregular.TTF, dejavusans.TTF} {
		font, err := sfnt.Parse(ttf)
		if err != nil {
			return nil, fmt.Errorf("read the font %s: %w", d.names[i], err)
		}
		d.fonts[i] = font
	}
	d.pdf.SetCreationDate(created.UTC())
	d.pdf.SetModificationDate(created.UTC())
	d.pdf.SetCatalogSort(true) // else its lists come in the order of maps
	d.pdf.SetTitle(title, true)
	d.pdf.SetAuthor(author, true)
	d.pdf.SetProducer("hostmeter", true)
	d.pdf.SetLang("en-GB")
	d.pdf.SetAutoPageBreak(false, 0)
	d.pdf.SetMargins(pageMargin, pageMargin, pageMargin)
	d.pdf.AddUTF8FontFromBytes(d.names[0], "", liberationsansregular.TTF)
	d.pdf.AddUTF8FontFromBytes(d.names[0], "B", liberationsansbold.TTF)
	d.pdf.AddPage()
	d.y = pageMargin
	return d, d.pdf.Error()
}

// output writes the file. fpdf makes it in memory.
func (d *document) output(w io.Writer) error {
	var file bytes.Buffer
	if err := d.pdf.Output(&file); err != nil {
		return err
	}
	_, err := w.Write(file.Bytes())
	return err
}

// need begins another page where less than height is left of this one.
func (d *document) need(height float64) {
	if d.y+height <= pageBottom {
		return
	}
	d.pdf.AddPage()
	d.y = pageMargin
	if d.newPage != nil {
		d.newPage()
	}
}

// style sets what texts are written in from now on; size in points.
func (d *document) style(size float64, bold bool, c colour) { d.size, d.bold, d.colour = size, bold, c }

// run is a part of a text in one font.
type run struct {
	font int
	text string
}

// runs makes a text ready to be drawn from left to right: what is written from right to left is turned
// round, and each character gets a font that has it.
func (d *document) runs(text string) []run {
	var runs []run
	for _, r := range visual(text) {
		font := 0
		switch {
		case unicode.IsControl(r):
			r = ' '
		case unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Mn, r) && r >= 0xFE00 && r <= 0xFE0F:
			continue // joiners and marks of direction have no shape of their own
		case d.has(0, r):
		case d.has(1, r):
			font = 1
		default:
			r, font = missingGlyph, 1
		}
		if n := len(runs) - 1; n >= 0 && runs[n].font == font {
			runs[n].text += string(r)
		} else {
			runs = append(runs, run{font, string(r)})
		}
	}
	return runs
}

// has says whether a font has a character. fpdf knows those of the basic plane alone.
func (d *document) has(font int, r rune) bool {
	if r > 0xFFFF {
		return false
	}
	has, known := d.known[font][r]
	if !known {
		glyph, err := d.fonts[font].GlyphIndex(&d.glyphs, r)
		has = err == nil && glyph != 0
		d.known[font][r] = has
	}
	return has
}

// use makes a run's font the current one.
func (d *document) use(font int) {
	if font == 1 && !d.fallback {
		d.fallback = true
		d.pdf.AddUTF8FontFromBytes(d.names[1], "", dejavusans.TTF)
	}
	style, size := "", d.size
	if font == 0 && d.bold {
		style = "B"
	}
	if font == 1 {
		size *= 0.93 // its letters are larger
	}
	d.pdf.SetFont(d.names[font], style, size)
}

func (d *document) width(text string) (width float64) {
	for _, r := range d.runs(text) {
		d.use(r.font)
		width += d.pdf.GetStringWidth(r.text)
	}
	return width
}

// text writes a text whose base line begins at x, y.
func (d *document) text(x, y float64, text string) {
	d.pdf.SetTextColor(d.colour[0], d.colour[1], d.colour[2])
	for _, r := range d.runs(text) {
		d.use(r.font)
		d.pdf.Text(x, y, r.text)
		x += d.pdf.GetStringWidth(r.text)
	}
}

// right writes a text that ends at x.
func (d *document) right(x, y float64, text string) { d.text(x-d.width(text), y, text) }

// fit cuts a text to a width, with an ellipsis where it was cut.
func (d *document) fit(text string, width float64) string {
	if len(text) > 500 {
		text = cutText(text, 500)
	}
	if d.width(text) <= width {
		return text
	}
	letters := []rune(text)
	n := sort.Search(len(letters), func(n int) bool { return d.width(string(letters[:n+1])+"…") > width })
	return strings.TrimSpace(string(letters[:n])) + "…"
}

// wrap breaks a text into lines of a width.
func (d *document) wrap(text string, width float64) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		next := strings.TrimSpace(line + " " + word)
		if line != "" && d.width(next) > width {
			lines, next = append(lines, line), word
		}
		line = next
	}
	lines = append(lines, line)
	for i := range lines {
		lines[i] = d.fit(lines[i], width)
	}
	return lines
}

func (d *document) fill(x, y, w, h float64, c colour) {
	d.pdf.SetFillColor(c[0], c[1], c[2])
	d.pdf.Rect(x, y, w, h, "F")
}

func (d *document) line(x1, y1, x2, y2, width float64, c colour) {
	d.pdf.SetDrawColor(c[0], c[1], c[2])
	d.pdf.SetLineWidth(width)
	d.pdf.Line(x1, y1, x2, y2)
}

// visual turns the parts of a text that are written from right to left round, as they are drawn. A text
// that begins from right to left is read so as a whole.
func visual(text string) string {
	if !strings.ContainsFunc(text, rightToLeft) {
		return text
	}
	text = strings.Join(strings.Fields(text), " ")
	direction, backwards := bidi.LeftToRight, false
	for _, r := range text {
		properties, _ := bidi.LookupRune(r)
		if class := properties.Class(); class == bidi.L || class == bidi.R || class == bidi.AL {
			backwards = class != bidi.L
			break
		}
	}
	if backwards {
		direction = bidi.RightToLeft
	}
	var paragraph bidi.Paragraph
	if _, err := paragraph.SetString(text, bidi.DefaultDirection(direction)); err != nil {
		return text
	}
	order, err := paragraph.Order()
	if err != nil {
		return text
	}
	parts := make([]string, order.NumRuns())
	for i := range parts {
		if r := order.Run(i); r.Direction() == bidi.RightToLeft {
			parts[i] = bidi.ReverseString(r.String())
		} else {
			parts[i] = r.String()
		}
	}
	if backwards {
		slices.Reverse(parts)
	}
	return strings.Join(parts, "")
}

func rightToLeft(r rune) bool {
	properties, _ := bidi.LookupRune(r)
	class := properties.Class()
	return class == bidi.R || class == bidi.AL || class == bidi.RLE || class == bidi.RLO || class == bidi.RLI
}
