package statement

import (
	"archive/zip"
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
)

// workbook writes an XLSX file straight to a writer: one sheet after the other, one row after the
// other. Nothing of a row is kept; the parts that name the sheets are written last.
//
// A text is always a cell of type text, whatever it begins with: only formula makes a formula. Numbers
// are written with all their digits; a spreadsheet keeps 15 to 17 of them.
// Source: ECMA-376, part 1, SpreadsheetML (18), and part 2, packages.
type workbook struct {
	zip    *zip.Writer
	sheets []string
	ranges []string      // of the filters, by sheet; empty where there is none
	out    *bufio.Writer // of the open sheet
	row    int

	rowsMax int // of a sheet
	// The sheet as it was asked for: where it is full, another one goes on.
	name    string
	columns []column
	parts   int

	err error // the first one; everything after it does nothing
}

// sheetRowsMax is how many rows a sheet can have.
const sheetRowsMax = 1 << 20

// textMax is how many UTF-16 units a cell can have.
const textMax = 32767

// style is an index into the cell formats of stylesXML.
type style int

const (
	plainStyle style = iota
	headStyle
	titleStyle
	dimStyle
	quotedStyle   // a text that would be a formula if a person typed it
	integerStyle  // 1,234
	quantityStyle // all digits
	shareStyle    // 4 digits
	dateStyle
	timeStyle
	moneyStyle // + digits of the currency, 0 to 4

	headRightStyle = moneyStyle + 5 // above numbers
)

// moneyOf is the style of an amount with a currency's digits.
func moneyOf(digits int32) style { return moneyStyle + style(min(max(digits, 0), 4)) }

// cell is what a row is made of.
type cell struct {
	style   style
	text    string // where it is not empty, or number is
	number  string
	formula string // number is its value
}

func textCell(s string) cell {
	if formulaLike(s) {
		return cell{style: quotedStyle, text: s}
	}
	return cell{text: s}
}

func integerCell(n int64) cell { return cell{style: integerStyle, number: strconv.FormatInt(n, 10)} }

func decimalCell(d decimal.Decimal) cell { return cell{style: quantityStyle, number: d.String()} }

// timeCell is a local time: a spreadsheet knows no zones.
func timeCell(at time.Time) cell {
	if at.IsZero() {
		return cell{}
	}
	local := time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), 0, time.UTC)
	seconds := local.Unix() - time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC).Unix()
	if seconds%86400 == 0 {
		return cell{style: timeStyle, number: strconv.FormatInt(seconds/86400, 10)}
	}
	return cell{style: timeStyle, number: strconv.FormatFloat(float64(seconds)/86400, 'f', -1, 64)}
}

func dateCell(d rating.Date) cell {
	if d.IsZero() {
		return cell{}
	}
	c := timeCell(time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC))
	c.style = dateStyle
	return c
}

func boolCell(b bool) cell {
	if b {
		return cell{text: "yes"}
	}
	return cell{text: "no"}
}

// column is a column of a sheet: its head and its width in characters.
type column struct {
	name  string
	width float64
}

// newWorkbook begins a file. created is written as its date: the file is the same each time.
func newWorkbook(w io.Writer, title, creator string, created time.Time) *workbook {
	b := &workbook{zip: zip.NewWriter(w), rowsMax: sheetRowsMax}
	b.part("_rels/.rels", xml.Header+`<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">`+
		`<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/>`+
		`<Relationship Id="rId2" Type="http://schemas.openxmlformats.org/package/2006/relationships/metadata/core-properties" Target="docProps/core.xml"/></Relationships>`)
	at := created.UTC().Format(time.RFC3339)
	b.part("docProps/core.xml", xml.Header+`<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties"`+
		` xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">`+
		`<dc:title>`+escape(title)+`</dc:title><dc:creator>`+escape(creator)+`</dc:creator>`+
		`<dcterms:created xsi:type="dcterms:W3CDTF">`+at+`</dcterms:created><dcterms:modified xsi:type="dcterms:W3CDTF">`+at+`</dcterms:modified></cp:coreProperties>`)
	b.part("xl/styles.xml", stylesXML)
	return b
}

func (b *workbook) part(name, text string) {
	if b.err != nil {
		return
	}
	out, err := b.zip.Create(name)
	if err == nil {
		_, err = io.WriteString(out, text)
	}
	b.err = err
}

// sheet begins a sheet whose first row has the columns' names; where a column has none there is no such
// row. The sheet before it is ended. Rows that do not fit go to further sheets: name 2, name 3 ...
func (b *workbook) sheet(name string, columns []column) {
	b.name, b.columns, b.parts = name, columns, 0
	b.nextSheet()
}

func (b *workbook) nextSheet() {
	b.endSheet()
	b.parts++
	name, columns := partName(b.name, b.parts), b.columns
	if b.err != nil {
		return
	}
	b.sheets, b.ranges, b.row = append(b.sheets, name), append(b.ranges, ""), 0
	out, err := b.zip.Create(fmt.Sprintf("xl/worksheets/sheet%d.xml", len(b.sheets)))
	if err != nil {
		b.err = err
		return
	}
	b.out = bufio.NewWriterSize(out, 1<<16)
	headed := columns[0].name != ""
	b.write(xml.Header + `<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetPr><pageSetUpPr fitToPage="1"/></sheetPr>`)
	b.write(`<sheetViews><sheetView workbookViewId="0"` + when(!headed, ` showGridLines="0"`) + `>`)
	b.write(when(headed, `<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>`) + `</sheetView></sheetViews><cols>`)
	for i, c := range columns {
		b.write(fmt.Sprintf(`<col min="%d" max="%d" width="%g" customWidth="1"/>`, i+1, i+1, c.width))
	}
	b.write(`</cols><sheetData>`)
	if headed {
		b.ranges[len(b.ranges)-1] = "A1:" + columnName(len(columns)-1)
		head := make([]cell, len(columns))
		for i, c := range columns {
			head[i] = cell{style: headStyle, text: c.name}
		}
		b.add(head...)
	}
}

// add writes a row. A cell without text and number is left out.
func (b *workbook) add(cells ...cell) {
	if b.row >= b.rowsMax {
		b.nextSheet()
	}
	if b.err != nil {
		return
	}
	b.row++
	number := strconv.Itoa(b.row)
	b.write(`<row r="` + number + `">`)
	for i, c := range cells {
		if c.text == "" && c.number == "" {
			continue
		}
		b.write(`<c r="` + columnName(i) + number + `"`)
		if c.style != plainStyle {
			b.write(` s="` + strconv.Itoa(int(c.style)) + `"`)
		}
		switch {
		case c.text != "":
			b.write(` t="inlineStr"><is><t xml:space="preserve">` + escape(c.text) + `</t></is></c>`)
		case c.formula != "":
			b.write(`><f>` + escape(c.formula) + `</f><v>` + c.number + `</v></c>`)
		default:
			b.write(`><v>` + c.number + `</v></c>`)
		}
	}
	b.write(`</row>`)
}

// partName names the sheets that share the rows of one.
func partName(name string, part int) string {
	if part == 1 {
		return name
	}
	return name + " " + strconv.Itoa(part)
}

// cellsOf returns where the cells of a column are when a headed sheet has rows behind its head, one text
// for each of the sheets that share them: 'Report'!$T$2:$T$9.
func (b *workbook) cellsOf(name string, columns []column, column string, rows int) []string {
	letter := ""
	for i, c := range columns {
		if c.name == column {
			letter = columnName(i)
		}
	}
	var cells []string
	for part := 1; part == 1 || rows > 0; part++ {
		n := min(rows, b.rowsMax-1)
		cells = append(cells, fmt.Sprintf("'%s'!$%s$2:$%s$%d", partName(name, part), letter, letter, max(n, 1)+1))
		rows -= n
	}
	return cells
}

func (b *workbook) write(text string) {
	if b.err == nil {
		_, b.err = b.out.WriteString(text)
	}
}

func (b *workbook) endSheet() {
	if b.out == nil || b.err != nil {
		return
	}
	b.write(`</sheetData>`)
	if i := len(b.sheets) - 1; b.ranges[i] != "" {
		b.ranges[i] += strconv.Itoa(b.row)
		b.write(`<autoFilter ref="` + b.ranges[i] + `"/>`)
	}
	b.write(`<pageMargins left="0.4" right="0.4" top="0.5" bottom="0.5" header="0.3" footer="0.3"/><pageSetup paperSize="9" orientation="landscape" fitToHeight="0"/></worksheet>`)
	if b.err == nil {
		b.err = b.out.Flush()
	}
	b.out = nil
}

// close ends the file. It returns the first error of all.
func (b *workbook) close() error {
	b.endSheet()
	var types, sheets, names, relations strings.Builder
	for i, name := range b.sheets {
		n := i + 1
		fmt.Fprintf(&types, `<Override PartName="/xl/worksheets/sheet%d.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>`, n)
		fmt.Fprintf(&sheets, `<sheet name="%s" sheetId="%d" r:id="rId%d"/>`, escape(name), n, n)
		fmt.Fprintf(&relations, `<Relationship Id="rId%d" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet%d.xml"/>`, n, n)
		if b.ranges[i] != "" { // spreadsheets write their filters down twice
			fmt.Fprintf(&names, `<definedName name="_xlnm._FilterDatabase" localSheetId="%d" hidden="1">%s</definedName>`, i, escape("'"+name+"'!"+absolute(b.ranges[i])))
			fmt.Fprintf(&names, `<definedName name="_xlnm.Print_Titles" localSheetId="%d">%s</definedName>`, i, escape("'"+name+"'!$1:$1"))
		}
	}
	b.part("xl/workbook.xml", xml.Header+`<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">`+
		`<sheets>`+sheets.String()+`</sheets><definedNames>`+names.String()+`</definedNames></workbook>`)
	b.part("xl/_rels/workbook.xml.rels", xml.Header+`<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">`+relations.String()+
		fmt.Sprintf(`<Relationship Id="rId%d" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/></Relationships>`, len(b.sheets)+1))
	b.part("[Content_Types].xml", xml.Header+`<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">`+
		`<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>`+
		`<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>`+
		`<Override PartName="/xl/styles.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml"/>`+
		`<Override PartName="/docProps/core.xml" ContentType="application/vnd.openxmlformats-package.core-properties+xml"/>`+types.String()+`</Types>`)
	if b.err != nil {
		return b.err
	}
	return b.zip.Close()
}

// columnName returns A for 0, Z for 25, AA for 26.
func columnName(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return columnName(i/26-1) + string(rune('A'+i%26))
}

// absolute turns A1:C9 into $A$1:$C$9.
func absolute(cells string) string {
	first, last, _ := strings.Cut(cells, ":")
	fix := func(s string) string {
		letters := strings.TrimRight(s, "0123456789")
		return "$" + letters + "$" + s[len(letters):]
	}
	return fix(first) + ":" + fix(last)
}

func when(condition bool, text string) string {
	if condition {
		return text
	}
	return ""
}

// escape makes a text one of XML. What XML cannot hold is written as _xHHHH_, as spreadsheets do (ECMA-376,
// part 1, 22.9.2.19), and a text that looks like that is protected from being read so. A text that is too
// long for a cell is cut, with an ellipsis at its end.
func escape(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > textMax && len(utf16.Encode([]rune(s))) > textMax {
		s = cutText(s, textMax-1) + "…"
	}
	var out strings.Builder
	for i, r := range s {
		switch {
		case r == '&':
			out.WriteString("&amp;")
		case r == '<':
			out.WriteString("&lt;")
		case r == '>':
			out.WriteString("&gt;")
		case r == '"':
			out.WriteString("&quot;")
		case r == '\t' || r == '\n':
			out.WriteRune(r)
		case r < 0x20 || r == 0xFFFE || r == 0xFFFF:
			fmt.Fprintf(&out, "_x%04X_", r)
		case r == '_' && isEscape(s[i:]):
			out.WriteString("_x005F_")
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// isEscape says whether a text begins as _xHHHH_ does.
func isEscape(s string) bool {
	return len(s) >= 7 && s[1] == 'x' && s[6] == '_' && strings.Trim(s[2:6], "0123456789ABCDEFabcdef") == ""
}

// cutText returns the beginning of a text that has at most n UTF-16 units.
func cutText(s string, n int) string {
	for i, r := range s {
		if n -= utf16.RuneLen(r); n < 0 {
			return s[:i]
		}
	}
	return s
}

// stylesXML has the cell formats in the order of the styles.
const stylesXML = xml.Header + `<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">` +
	`<numFmts count="9"><numFmt numFmtId="164" formatCode="#,##0"/><numFmt numFmtId="165" formatCode="0.0000"/><numFmt numFmtId="166" formatCode="yyyy\-mm\-dd"/>` +
	`<numFmt numFmtId="167" formatCode="yyyy\-mm\-dd\ hh:mm"/><numFmt numFmtId="170" formatCode="#,##0"/><numFmt numFmtId="171" formatCode="#,##0.0"/>` +
	`<numFmt numFmtId="172" formatCode="#,##0.00"/><numFmt numFmtId="173" formatCode="#,##0.000"/><numFmt numFmtId="174" formatCode="#,##0.0000"/></numFmts>` +
	`<fonts count="4"><font><sz val="10"/><name val="Arial"/></font><font><b/><sz val="10"/><color rgb="FFFFFFFF"/><name val="Arial"/></font>` +
	`<font><b/><sz val="16"/><color rgb="FF17222B"/><name val="Arial"/></font><font><sz val="10"/><color rgb="FF5D6972"/><name val="Arial"/></font></fonts>` +
	`<fills count="3"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill>` +
	`<fill><patternFill patternType="solid"><fgColor rgb="FF17222B"/><bgColor indexed="64"/></patternFill></fill></fills>` +
	`<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>` +
	`<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>` +
	`<cellXfs count="16"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>` +
	`<xf numFmtId="0" fontId="1" fillId="2" borderId="0" xfId="0" applyFont="1" applyFill="1"/>` +
	`<xf numFmtId="0" fontId="2" fillId="0" borderId="0" xfId="0" applyFont="1"/>` +
	`<xf numFmtId="0" fontId="3" fillId="0" borderId="0" xfId="0" applyFont="1"/>` +
	`<xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0" quotePrefix="1"/>` +
	`<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>` +
	`<xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>` +
	`<xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>` +
	`<xf numFmtId="166" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1" applyAlignment="1"><alignment horizontal="left"/></xf>` +
	`<xf numFmtId="167" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1" applyAlignment="1"><alignment horizontal="left"/></xf>` +
	`<xf numFmtId="170" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>` +
	`<xf numFmtId="171" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>` +
	`<xf numFmtId="172" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>` +
	`<xf numFmtId="173" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>` +
	`<xf numFmtId="174" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>` +
	`<xf numFmtId="0" fontId="1" fillId="2" borderId="0" xfId="0" applyFont="1" applyFill="1" applyAlignment="1"><alignment horizontal="right"/></xf></cellXfs>` +
	`<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>`
