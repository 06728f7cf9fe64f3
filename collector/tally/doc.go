// Package tally adds flow records up per (meter, minute, class, exporter): the words that a collector
// writes to the log.
//
// It owns direction by local prefixes and accounting mode, the spreading of a flow's octets over its
// minutes, multiplication by sampling rates, and the features, sketches and top peers of a meter.
// Octets and packets are integers throughout, and what comes out adds up to what went in: over
// complete flushes, the accounts of an exporter equal the tallies, to the octet. Memory is bounded
// by Config. It does not know who owns a meter, reads no clock, and a Table is not safe for
// concurrent use.
package tally
