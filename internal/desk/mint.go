package desk

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
)

// mint makes a journal-id: a random UUID (RFC 9562 section 5.4). Its 122 random bits are what keeps two customers'
// journals apart, so they come from the operating system. If random is nil, crypto/rand.
func mint(random io.Reader) (string, error) {
	if random == nil {
		random = rand.Reader
	}
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("making a journal-id: %w", err)
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], nil
}
