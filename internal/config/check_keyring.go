package config

// checkKeyring refuses a key store of one desktop together with a store that many
// replicas share: a session can't be in both.
func checkKeyring(k *Keep, found *findings) {
	const variable = "SIDECAR_SESSION_STORE"
	if k.SessionStore == StoreKeyring && k.Shared() && !found.has(variable) {
		found.fault(variable, "is keyring, and SIDECAR_STORE is a shared store: a session can't be in both",
			"unset SIDECAR_STORE on a desktop, or this where replicas share sessions")
	}
}
