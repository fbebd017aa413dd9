package config

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
)

// storeKeyLength is that of one key in SIDECAR_STORE_KEY, in bytes.
const storeKeyLength = 32

// Shared says whether sessions and tokens are in a store that replicas share.
func (k *Keep) Shared() bool { return !k.Store.Empty() && k.Store.Reveal() != StoreMemory }

// StoreKeys are the keys of the shared store: the first seals, all open. The caller
// must not keep them longer than needed.
func (k *Keep) StoreKeys() [][]byte {
	keys, _ := storeKeys(k.StoreKey)
	return keys
}

// storeKeys reads a list of keys. The fault names a key by its place.
func storeKeys(list Secret) (keys [][]byte, fault string) {
	for i, word := range words(list.Reveal()) {
		key, err := base64.StdEncoding.DecodeString(word)
		if err != nil || len(key) != storeKeyLength {
			return nil, "holds as key " + strconv.Itoa(i+1) + " what is not the base64 of 32 bytes"
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, "holds no key"
	}
	return keys, ""
}

// checkStore checks the address of a shared store as far as it can be without the
// library that reads it, and that there is a key where one is needed.
func checkStore(k *Keep, found *findings) {
	const variable, keys = "SIDECAR_STORE", "SIDECAR_STORE_KEY"
	const mend = "write memory, or an address such as rediss://USER:PASSWORD@HOST:6379"
	if !k.Shared() {
		if !k.StoreKey.Empty() && !found.has(keys) {
			found.fault(keys, "is set, and SIDECAR_STORE is memory: nothing would be sealed with it", "set SIDECAR_STORE, or unset this")
		}
		return
	}
	u, err := url.Parse(k.Store.Reveal())
	switch {
	case found.has(variable):
	case err != nil:
		found.fault(variable, "can't be read", "write special characters of a password percent-encoded")
	case !slices.Contains([]string{"redis", "rediss", "unix"}, u.Scheme):
		found.fault(variable, "is neither memory nor the address of a Redis", mend)
	case u.Scheme == "unix" && u.Path == "":
		found.fault(variable, "names no socket", "write unix:///PATH")
	case u.Scheme != "unix" && u.Hostname() == "":
		found.fault(variable, "names no server", mend)
	}
	if found.has(variable) || found.has(keys) || found.has(keys+twinSuffix) {
		return
	}
	if k.StoreKey.Empty() {
		found.fault(keys, "is required with a shared store and not set", "set it, or "+keys+twinSuffix+", to the base64 of 32 random bytes")
		return
	}
	if _, fault := storeKeys(k.StoreKey); fault != "" {
		found.fault(keys, fault, "write each key as the base64 of 32 random bytes, comma separated")
	}
}
