package desk

import (
	"errors"
	"io/fs"

	"sfm-sidecar/internal/tenantmap"
)

// load reads the registry. A broken one is a [failure] whose findings name each fault with its line and mend.
func (d *desk) load() (*tenantmap.Registry, error) {
	if d.file == "" {
		return nil, usageError{"no registry: name it with -f FILE, or set TENANTS_FILE"}
	}
	registry, err := d.loader().Load(d.file)
	if err == nil {
		return registry, nil
	}
	return nil, d.broken(err)
}

// elsewhere is what a command has to say so that it is about this registry too.
func (d *desk) elsewhere() string {
	if d.file == d.File {
		return ""
	}
	return " -f " + quoted(d.file)
}

// broken turns what is wrong with a file into a failure.
func (d *desk) broken(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return failure{message: d.file + " does not exist", mend: "name the registry with -f FILE or TENANTS_FILE"}
	}
	faults, ok := errors.AsType[tenantmap.Faults](err)
	if !ok {
		return failure{message: err.Error()}
	}
	f := failure{message: "the registry " + d.file + " is broken, nothing of it is used", mend: "mend what is listed, then run sidecar tenants lint"}
	for _, one := range faults {
		f.findings = append(f.findings, fault(one))
	}
	return f
}

// fault is a fault of a file as a finding.
func fault(one tenantmap.Fault) finding {
	return finding{File: one.File, Line: one.Line, Column: one.Column, Rule: fileRule, Severity: severityError, Message: one.Message, Mend: one.Mend}
}

// loader reads as the sidecar itself does.
func (d *desk) loader() tenantmap.Loader {
	if d.Strict {
		return tenantmap.Loader{CheckDigit: "strict"}
	}
	return tenantmap.Loader{}
}
