// Command decode reads a capture that benchmarks/load wrote and decodes its NetFlow v9 or IPFIX with
// goflow2's library, without a producer: the least that goflow2 does with a datagram.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"

	"github.com/netsampler/goflow2/v2/decoders/netflow"
)

const (
	fileHeader, packetHeader = 24, 16
	ipAndUDP                 = 28
)

func main() {
	records, err := decode(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "decode: error:", err)
		os.Exit(1)
	}
	fmt.Println(records)
}

func decode(name string) (records int, err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	templates := netflow.CreateTemplateSystem()
	for b = b[fileHeader:]; len(b) > 0; {
		size := packetHeader + int(binary.LittleEndian.Uint32(b[8:]))
		var v9 netflow.NFv9Packet
		var ipfix netflow.IPFIXPacket
		payload := bytes.NewBuffer(b[packetHeader+ipAndUDP : size])
		if err := netflow.DecodeMessageVersion(payload, templates, &v9, &ipfix); err != nil {
			return records, err
		}
		for _, set := range append(v9.FlowSets, ipfix.FlowSets...) {
			if data, ok := set.(netflow.DataFlowSet); ok {
				records += len(data.Records)
			}
		}
		b = b[size:]
	}
	return records, nil
}
