package telemetry

// RegistryLoad counts that the tenant registry was read: loaded, or broken (the one
// before stays in use).
func (m *Metrics) RegistryLoad(outcome string) { m.registryLoads.WithLabelValues(outcome).Inc() }

// Registry makes registry_tenants and registry_broken show what the functions return
// whenever they are asked for. It panics when called twice.
func (m *Metrics) Registry(tenants func() int, broken func() bool) {
	m.live("registry_tenants", "Tenants in the registry that is in use.", tenants)
	m.live("registry_broken", "1 while the registry's file can't be used and an older content of it is in use.", func() int {
		if broken() {
			return 1
		}
		return 0
	})
}
