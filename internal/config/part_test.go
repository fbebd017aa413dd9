package config_test

import (
	"errors"
	"testing"

	"sfm-sidecar/internal/config"
)

func TestLoadPart(t *testing.T) {
	c, err := config.LoadPart([]string{"SIDECAR_ORGNR_CHECK=strict", "SFM_API=v9"}, "SIDECAR_ORGNR_CHECK")
	if err != nil || c.Tenants.OrgnrCheck != "strict" {
		t.Errorf("a fault of another variable keeps a part from being read: %v", err)
	}
	for _, environ := range [][]string{{"SIDECAR_ORGNR_CHECK=loose"}, {"SIDECAR_ENV_FILE=/nowhere"}} {
		_, err = config.LoadPart(environ, "SIDECAR_ORGNR_CHECK")
		if faults, ok := errors.AsType[config.Faults](err); !ok || len(faults) != 1 {
			t.Errorf("%s: got %v, want one fault", environ, err)
		}
	}
}
