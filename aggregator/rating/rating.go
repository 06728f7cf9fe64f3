// Package rating turns the usage of one service in one period into a charge, under a contract and a
// list of price versions.
//
// It also rates a pool, which several services share, and divides its charge among them.
//
// It owns periods (their boundaries in a contract's zone), quantities with their unit base, prices
// and the arithmetic between them. It is pure: values and times go in, values come out. Octets are
// integers and money is decimal all the way; the one float is the standard error, which is shown
// beside a charge and never enters it (bounds that a contract charges by are computed in integers).
//
// It does not know meters, owners or stores, and it does not decide when a period is closed.
package rating

// Version names this package's arithmetic. A statement keeps it, so that a later reader knows by
// which rules it was computed; it changes whenever the same input would give another charge, or other rules beside it.
const Version = 3
