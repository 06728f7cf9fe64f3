package notice

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"
)

// A token is the number of a request and its deadline in Unix seconds, 8 octets each in network order, and the
// HMAC-SHA256 over linkPurpose and them (RFC 2104), in base64 for URLs (RFC 4648, section 5).
const (
	linkPurpose = "hostmeter decision 1\n"
	payloadSize = 16
	tokenSize   = payloadSize + sha256.Size
)

func (c Config) token(request int64, deadline time.Time) string {
	octets := binary.BigEndian.AppendUint64(nil, uint64(request))
	octets = binary.BigEndian.AppendUint64(octets, uint64(deadline.Unix()))
	return base64.RawURLEncoding.EncodeToString(append(octets, c.sign(octets)...))
}

func (c Config) sign(payload []byte) []byte {
	mac := hmac.New(sha256.New, []byte(c.LinkKey.Reveal()))
	mac.Write([]byte(linkPurpose))
	mac.Write(payload)
	return mac.Sum(nil)
}

// open returns what a token is for. Errors: ErrLink.
func (c Config) open(token string) (request int64, deadline time.Time, err error) {
	octets, err := base64.RawURLEncoding.Strict().DecodeString(token)
	same := base64.RawURLEncoding.EncodeToString(octets) == token // the decoder passes over the ends of lines
	if err != nil || !same || len(octets) != tokenSize || !c.links() || !hmac.Equal(octets[payloadSize:], c.sign(octets[:payloadSize])) {
		return 0, time.Time{}, fmt.Errorf("decision: %w", ErrLink)
	}
	return int64(binary.BigEndian.Uint64(octets)), time.Unix(int64(binary.BigEndian.Uint64(octets[8:])), 0).UTC(), nil
}
