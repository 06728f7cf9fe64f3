// Package sflow turns sFlow version 5 datagrams of one exporter into flow records, one for each flow
// sample, and interface counters.
//
// It promises that every count on the wire is checked against the octets left before anything is
// allocated for it, that one bad record or sample does not lose its neighbours, and that nothing it
// returns points into a datagram. Octets of a record are layer 3 (from the IP header), OctetsL2 is the
// frame length with FCS. It decides no direction, knows no clock and is not safe for concurrent
// use: one decoder belongs to one exporter's address.
//
// Source: sFlow version 5, www.sflow.org/sflow_version_5.txt.
package sflow
