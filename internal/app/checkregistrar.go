package app

import "sfm-sidecar/internal/doctor"

// registrar is HelseID Selvbetjening for this client, nil where no address of it
// is known.
func (h *house) registrar() (doctor.Registrar, error) {
	if h.cfg.Tenants.SelvbetjeningURL == "" {
		return nil, nil
	}
	m, err := newMachine(h.cfg, h.keys)
	if err != nil {
		return nil, err
	}
	return m.selvbetjening()
}
