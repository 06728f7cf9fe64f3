package libvirt

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// targetsOf returns the MAC address of each interface of a domain's XML by the name of its target
// on the host. Interfaces without a target device are left out: they have no counters.
func targetsOf(domainXML string) (map[string]string, error) {
	var domain struct {
		Interfaces []struct {
			MAC struct {
				Address string `xml:"address,attr"`
			} `xml:"mac"`
			Target struct {
				Device string `xml:"dev,attr"`
			} `xml:"target"`
		} `xml:"devices>interface"`
	}
	if err := xml.Unmarshal([]byte(domainXML), &domain); err != nil {
		return nil, fmt.Errorf("read the XML of a guest: %w", err)
	}
	targets := make(map[string]string, len(domain.Interfaces))
	for _, i := range domain.Interfaces {
		if i.Target.Device != "" && i.MAC.Address != "" {
			targets[i.Target.Device] = strings.ToLower(i.MAC.Address)
		}
	}
	return targets, nil
}
