// Package netflow turns NetFlow v5, v9 and IPFIX datagrams of one exporter into flow records.
//
// It owns templates, option data (sampling), data that came before its template, and the accounting
// of sequence numbers. A template is checked and compiled once into a short program; a data set is
// then read without an allocation. Whatever it cannot read is counted by reason in Stats: nothing is
// dropped without one.
//
// It promises that a decoder's memory is bounded by Limits whatever arrives, that every loop over wire
// data takes at least one octet, and that nothing it returns points into a datagram. It does not
// multiply by sampling rates, decides no direction, knows no clock (times come in with the
// datagram), and is not safe for concurrent use: one decoder belongs to one exporter's address.
//
// Sources: Cisco's NetFlow v5 export format; RFC 3954 (v9); RFC 7011, 7012 and the registry of
// information elements (IPFIX); RFC 5103 (reverse counters); RFC 5476, 5477 (sampling).
package netflow
