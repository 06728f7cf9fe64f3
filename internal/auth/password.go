package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The cost of a password: the first of the OWASP Password Storage Cheat Sheet's equal settings that
// fits a small machine (19 MiB, two passes, one lane).
const (
	argonMemoryKiB = 19 * 1024
	argonPasses    = 2
	argonLanes     = 1
	argonKeyBytes  = 32
)

// hashPassword returns argon2id of a password in PHC form, with a salt of its own.
func (k *Keeper) hashPassword(password string) string {
	var salt [16]byte
	_, _ = rand.Read(salt[:]) // never fails
	return phc(salt[:], k.argon(password, salt[:], argonPasses, argonMemoryKiB, argonLanes))
}

// argon runs at most two at a time: a flood of logins costs 38 MiB, not all memory.
func (k *Keeper) argon(password string, salt []byte, passes, memoryKiB uint32, lanes uint8) []byte {
	k.hashes <- struct{}{}
	defer func() { <-k.hashes }()
	return argon2.IDKey([]byte(password), salt, passes, memoryKiB, lanes, argonKeyBytes)
}

func phc(salt, key []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemoryKiB, argonPasses, argonLanes, b64(salt), b64(key))
}

// nobody is the hash of no password: an unknown name costs as much time as a known one.
var nobody = phc(make([]byte, 16), make([]byte, argonKeyBytes))

// checkHash says whether password has this hash. A hash that cannot be read matches nothing.
func (k *Keeper) checkHash(password, hash string) bool {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false
	}
	var version int
	var memory, passes uint32
	var lanes uint8
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &lanes); err != nil || passes == 0 || passes > 16 || lanes == 0 || memory > 128<<10 {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false
	}
	want, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(want) != argonKeyBytes {
		return false
	}
	return subtle.ConstantTimeCompare(k.argon(password, salt, passes, memory, lanes), want) == 1
}
