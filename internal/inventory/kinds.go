package inventory

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/schemas"
)

// kind is one section of an import file, one kind of CSV file and one table: all three have the same
// columns, in this order.
type kind struct {
	section  string   // "customers", also the stem of a CSV file's name
	name     string   // "customer", as a difference shows it; also the table
	columns  []string // as an import has them
	stored   []string // as the table has them
	keys     int      // how many of the first columns are the key
	required []string
}

var ruleColumns = []string{"quota", "direction", "period", "block", "sku", "bills", "internal",
	"missing", "grace", "sampled", "partial", "free",
	"notice_at", "notice_forecast", "notice_spike", "decide_within", "time_zone"} // time_zone last: the provider has it elsewhere

// The kinds, in the order in which they may refer to each other.
var (
	kindProvider = kind{section: "provider", name: "provider", columns: slices.Concat([]string{"name", "time_zone", "currency"},
		ruleColumns[:len(ruleColumns)-1], []string{"rounding", "charge_window", "credit_window", "claim_window", "approval"}), required: []string{"name", "time_zone", "currency"}}
	kindPrefix = kind{section: "prefixes", name: "prefix", columns: []string{"prefix", "exporters"}, keys: 1,
		required: []string{"prefix"}}
	kindPrice = kind{section: "prices", name: "price", columns: []string{"sku", "place", "currency", "from", "noticed", "per", "begun", "amount"},
		stored: []string{"sku", "place", "currency", "from_day", "noticed", "per", "begun", "amount"}, keys: 4,
		required: []string{"sku", "currency", "from", "noticed", "per", "begun", "amount"}}
	kindPlan = kind{section: "plans", name: "plan", columns: slices.Concat([]string{"name", "class"}, ruleColumns), keys: 1,
		required: []string{"name"}}
	kindCustomer = kind{section: "customers", name: "customer", columns: []string{"id", "name", "email", "reseller", "rate_bought"}, keys: 1,
		required: []string{"id"}} // and a name, unless it was erased
	kindService = kind{section: "services", name: "service", columns: slices.Concat([]string{"id", "customer", "plan", "place", "currency", "opened", "closed", "committed_until"}, ruleColumns),
		keys: 1, required: []string{"id", "customer", "plan", "opened"}}
	kindChange = kind{section: "changes", name: "contract_change", columns: []string{"service", "at", "plan", "quota"},
		stored: []string{"service", "ordered_at", "plan", "quota"}, keys: 2, required: []string{"service", "at"}}
	kindDecision = kind{section: "decisions", name: "decision", columns: []string{"id", "service", "decision", "from", "until", "direction", "amount", "beyond", "revokes", "by", "reason"},
		stored: []string{"id", "service", "decision", "from_at", "until_at", "direction", "amount", "beyond", "revokes", "decided_by", "reason"}, keys: 1,
		required: []string{"id", "service", "decision", "by", "reason"}}
	kindOwnership = kind{section: "ownership", name: "ownership", columns: []string{"key", "from", "service", "until"}, keys: 2,
		required: []string{"key", "from", "service"}}

	kinds = []*kind{&kindProvider, &kindPrefix, &kindPrice, &kindPlan, &kindCustomer, &kindService, &kindPool, &kindMember, &kindChange, &kindDecision, &kindOwnership}
)

func (k *kind) table() []string {
	if k.stored != nil {
		return k.stored
	}
	return k.columns
}

// Sections returns the sections of an import file, in the order in which they may refer to each other.
func Sections() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.section
	}
	return names
}

// Columns returns the columns of a section of an import file in their order; nil where there is no such
// section.
func Columns(section string) []string {
	if k := kindOf(section); k != nil {
		return slices.Clone(k.columns)
	}
	return nil
}

// Cells returns a plan as a Row says everything about it; what is not set is empty.
func (p Plan) Cells() map[string]string { return kindPlan.cells(p.row()) }

// Cells returns a customer as a Row says everything about it.
func (c Customer) Cells() map[string]string { return kindCustomer.cells(c.row()) }

// Cells returns a service as a Row says everything about it; what is not set is empty.
func (s Service) Cells() map[string]string { return kindService.cells(s.row()) }

// Cells returns a decision as a Row says everything about it.
func (d Decision) Cells() map[string]string { return kindDecision.cells(d.row()) }

func (k *kind) cells(row []string) map[string]string {
	cells := make(map[string]string, len(row))
	for i, column := range k.columns {
		cells[column] = row[i]
	}
	return cells
}

// keyOf returns the key of a row as text.
func (k *kind) keyOf(row []string) string { return strings.Join(row[:k.keys], " ") }

// fields reads the cells of one row and gathers what is wrong with them.
type fields struct {
	get  func(column string) string
	errs []columnError
}

type columnError struct {
	column string
	err    error
}

func (f *fields) fail(column string, err error) { f.errs = append(f.errs, columnError{column, err}) }

// read parses a cell that is not empty. The parsers' own errors quote what they were given.
func read[T any](f *fields, column string, parse func(string) (T, error)) (value T) {
	text := f.get(column)
	if text == "" {
		return value
	}
	value, err := parse(text)
	if err != nil {
		f.fail(column, err)
	}
	return value
}

func parseText(text string) (string, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("%q has a control character", text)
	}
	return text, nil
}

func parseID(text string) (string, error) {
	if len(text) > 100 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", fmt.Errorf("%q: want at most 100 characters without spaces", text)
	}
	return text, nil
}

func parseSwitch(text string) (*bool, error) {
	switch text {
	case "true", "false":
		on := text == "true"
		return &on, nil
	}
	return nil, fmt.Errorf("%q: want true or false", text)
}

func parseBills(text string) (schemas.MeterKind, error) {
	switch k := schemas.MeterKind(text); k {
	case schemas.KindAddress, schemas.KindVNIC, schemas.KindPort:
		return k, nil
	}
	return "", fmt.Errorf("%q: want address, vnic or port", text)
}

func parseCurrency(text string) (string, error) {
	if !rating.IsCurrency(text) {
		return "", fmt.Errorf("%q: not a currency of ISO 4217", text)
	}
	return text, nil
}

// CheckTimeZone says whether name is in the time zone database.
func CheckTimeZone(name string) error {
	_, err := parseZone(name)
	return err
}

func parseZone(text string) (string, error) {
	if _, err := time.LoadLocation(text); err != nil || text == "" || text == "Local" {
		return "", fmt.Errorf("%q: not in the time zone database (as Europe/London is)", text)
	}
	return text, nil
}

func parseTime(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q: want a time as 2026-01-31T00:00:00Z", text)
	}
	if year := at.Year(); year < 1971 || year > 2200 { // nanoseconds since 1970 must hold it, and be positive
		return time.Time{}, fmt.Errorf("%q: want a year from 1971 to 2200", text)
	}
	return at.UTC(), nil
}

func parseDay(text string) (rating.Date, error) {
	day, err := rating.ParseDate(text)
	if err == nil && (day.Year < 1971 || day.Year > 2200) {
		err = fmt.Errorf("date %q: want a year from 1971 to 2200", text)
	}
	return day, err
}

func parseBlock(text string) (rating.Quantity, error) {
	block, err := rating.ParseQuantity(text)
	if err == nil && !block.Amount.IsPositive() {
		err = fmt.Errorf("block %q: want more than nothing", text)
	}
	return block, err
}

func parseRateBought(text string) (rating.Quantity, error) {
	rate, err := rating.ParseQuantity(text)
	if err == nil && (rate.Unlimited || !rate.Unit.IsRate() || !rate.Amount.IsPositive()) {
		err = fmt.Errorf("%q: want a rate, as 500 Mbit/s or 10 Gbit/s", text)
	}
	return rate, err
}

func parsePrefix(text string) (netip.Prefix, error) {
	meter, err := schemas.ParseMeter("address:" + text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q: want an address or a prefix, as 192.0.2.0/24", text)
	}
	prefix, _ := meter.Prefix()
	return prefix, nil
}

func parseExporters(text string) ([]string, error) {
	names := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == ';' })
	for i, name := range names {
		if addr, err := netip.ParseAddr(name); err == nil {
			names[i] = addr.Unmap().String()
		} else if !strings.HasPrefix(name, "libvirt/") {
			return nil, fmt.Errorf("%q: want an exporter's address, or libvirt/NAME", name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func parseBegun(text string) (bool, error) {
	on, err := parseSwitch(text)
	return on != nil && *on, err
}

func readRules(f *fields) Rules {
	return Rules{
		Quota:     read(f, "quota", rating.ParseQuantity),
		Direction: read(f, "direction", rating.ParseDirection),
		Period:    read(f, "period", rating.ParsePeriodKind),
		Block:     read(f, "block", parseBlock),
		SKU:       read(f, "sku", parseID),
		Bills:     read(f, "bills", parseBills),
		Internal:  read(f, "internal", parseSwitch),
		Missing:   read(f, "missing", rating.ParseMissingPolicy),
		Grace:     read(f, "grace", rating.ParseGrace),
		Sampled:   read(f, "sampled", rating.ParseSampledPolicy),
		Partial:   read(f, "partial", rating.ParsePartialPolicy),
		Free:      read(f, "free", parseFree),

		NoticeAt:       read(f, "notice_at", rating.ParseThresholds),
		NoticeForecast: read(f, "notice_forecast", rating.ParseProbability),
		NoticeSpike:    read(f, "notice_spike", rating.ParseSpike),
		DecideWithin:   read(f, "decide_within", rating.ParseGrant),

		TimeZone: read(f, "time_zone", parseZone),
	}
}

func (r Rules) row() []string {
	internal := ""
	if r.Internal != nil {
		internal = strconv.FormatBool(*r.Internal)
	}
	return []string{r.Quota.String(), string(r.Direction), string(r.Period), r.Block.String(), r.SKU, string(r.Bills), internal,
		string(r.Missing), r.Grace.String(), string(r.Sampled), string(r.Partial), r.Free,
		r.NoticeAt.String(), r.NoticeForecast.String(), r.NoticeSpike.String(), r.DecideWithin.String(), r.TimeZone}
}

func readProvider(f *fields) Provider {
	return Provider{
		Name:     read(f, "name", parseText),
		Currency: read(f, "currency", parseCurrency),
		Rounding: read(f, "rounding", rating.ParseRounding),
		Rules:    readRules(f),

		ChargeWindow: read(f, "charge_window", rating.ParseWindow),
		CreditWindow: read(f, "credit_window", rating.ParseWindow),
		ClaimWindow:  read(f, "claim_window", rating.ParseWindow),
		Approval:     read(f, "approval", parseApproval),
	}
}

func parseApproval(text string) (Approval, error) {
	switch a := Approval(text); a {
	case ApprovalNone, ApprovalRequired:
		return a, nil
	}
	return "", fmt.Errorf("%q: want none or required", text)
}

func (p Provider) row() []string {
	rules := p.Rules.row()
	return slices.Concat([]string{p.Name, p.TimeZone, p.Currency}, rules[:len(rules)-1], []string{string(p.Rounding), p.ChargeWindow.String(), p.CreditWindow.String(), p.ClaimWindow.String(), string(p.Approval)})
}

func readCustomer(f *fields) Customer {
	return Customer{
		ID:       read(f, "id", parseID),
		Name:     read(f, "name", parseText),
		Email:    read(f, "email", parseText),
		Reseller: read(f, "reseller", parseID),

		RateBought: read(f, "rate_bought", parseRateBought),
	}
}

func (c Customer) row() []string {
	return []string{c.ID, c.Name, c.Email, c.Reseller, c.RateBought.String()}
}

func readPlan(f *fields) Plan {
	return Plan{Name: read(f, "name", parseID), Class: read(f, "class", parseText), Rules: readRules(f)}
}

func (p Plan) row() []string { return slices.Concat([]string{p.Name, p.Class}, p.Rules.row()) }

func readService(f *fields) Service {
	return Service{
		ID:             read(f, "id", parseID),
		Customer:       read(f, "customer", parseID),
		Plan:           read(f, "plan", parseID),
		Place:          read(f, "place", parseID),
		Currency:       read(f, "currency", parseCurrency),
		Opened:         read(f, "opened", parseDay),
		Closed:         read(f, "closed", parseDay),
		CommittedUntil: read(f, "committed_until", parseDay),
		Rules:          readRules(f),
	}
}

func (s Service) row() []string {
	return slices.Concat([]string{s.ID, s.Customer, s.Plan, s.Place, s.Currency, s.Opened.String(), s.Closed.String(), s.CommittedUntil.String()}, s.Rules.row())
}

func readPrefix(f *fields) Prefix {
	return Prefix{Prefix: read(f, "prefix", parsePrefix), Exporters: read(f, "exporters", parseExporters)}
}

func (p Prefix) row() []string { return []string{p.Prefix.String(), strings.Join(p.Exporters, " ")} }

func readPrice(f *fields) rating.Price {
	price := rating.Price{
		PriceKey: rating.PriceKey{SKU: read(f, "sku", parseID), Place: read(f, "place", parseID), Currency: read(f, "currency", parseCurrency)},
		From:     read(f, "from", parseDay),
		Noticed:  read(f, "noticed", parseDay),
		Per:      read(f, "per", rating.ParseUnit),
		Begun:    read(f, "begun", parseBegun),
		Amount:   read(f, "amount", rating.ParseDecimal),
	}
	if len(f.errs) > 0 {
		return price
	}
	switch err := price.Validate(); {
	case errors.Is(err, rating.ErrNotice):
		f.fail("noticed", err)
	case err != nil:
		f.fail("amount", err)
	}
	return price
}

func priceRow(p rating.Price) []string {
	return []string{p.SKU, p.Place, p.Currency, p.From.String(), p.Noticed.String(), string(p.Per), strconv.FormatBool(p.Begun), p.Amount.String()}
}

func readChange(f *fields) ContractChange {
	c := ContractChange{
		Service: read(f, "service", parseID),
		At:      read(f, "at", parseTime),
		Plan:    read(f, "plan", parseID),
		Quota:   read(f, "quota", rating.ParseQuantity),
	}
	if len(f.errs) == 0 && c.Plan == "" && c.Quota.Unit == "" {
		f.fail("plan", errors.New("neither a plan nor a quota: nothing changes"))
	}
	return c
}

func (c ContractChange) row() []string {
	return []string{c.Service, formatTime(c.At), c.Plan, c.Quota.String()}
}

func readOwnership(f *fields) Ownership {
	o := Ownership{
		Key:     read(f, "key", schemas.ParseMeter),
		From:    read(f, "from", parseTime),
		Service: read(f, "service", parseID),
		Until:   read(f, "until", parseTime),
	}
	if !o.Until.IsZero() && !o.From.Before(o.Until) {
		f.fail("until", fmt.Errorf("%s is not after from", formatTime(o.Until)))
	}
	return o
}

func (o Ownership) row() []string {
	return []string{string(o.Key), formatTime(o.From), o.Service, formatTime(o.Until)}
}

func formatTime(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339Nano)
}
