package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/journal"
	"sfm-sidecar/internal/telemetry"
	"sfm-sidecar/internal/tenantmap"
)

const (
	// registryLook is how often the registry is looked at. A new content is taken up
	// at the second look that finds it unchanged.
	registryLook = 2 * time.Second
	// maxTold bounds how many faults or findings of one content the log tells of.
	maxTold = 20
)

// registry keeps the tenant map at what TENANTS_FILE says. Where no file is named it
// does nothing.
type registry struct {
	path    string
	loader  tenantmap.Loader
	tenants *tenantmap.Map
	log     *slog.Logger
	metrics *telemetry.Metrics

	told map[string]bool // findings of the content before; of the one that watches alone

	mu     sync.Mutex
	now    *tenantmap.Registry // in use; guarded by mu
	broken tenantmap.Faults    // of what the file says by now, if that can't be used; guarded by mu
}

// registryStatus is what there is to tell of the registry.
type registryStatus struct {
	File    string // as configured; empty where there is none
	Tenants int
	Loaded  time.Time // when what is in use was read
	// Broken is why the file's present content can't be used. If empty, it is in use.
	Broken tenantmap.Faults
}

// openRegistry reads the registry. One that can't be used is a fault of the
// configuration.
func openRegistry(c config.Tenants, tenants *tenantmap.Map, log *slog.Logger, metrics *telemetry.Metrics) (*registry, error) {
	r := &registry{path: c.File, loader: tenantmap.Loader{CheckDigit: c.OrgnrCheck}, tenants: tenants, log: log, metrics: metrics}
	if c.File == "" {
		return r, nil
	}
	loaded, err := r.loader.Load(c.File)
	if err != nil {
		return nil, registryFaults(err)
	}
	metrics.Registry(func() int { return r.status().Tenants }, func() bool { return len(r.status().Broken) > 0 })
	r.use(loaded)
	return r, nil
}

// registryFaults tells the registry's faults as the configuration's.
func registryFaults(err error) error {
	faults, ok := errors.AsType[tenantmap.Faults](err)
	if !ok {
		return err
	}
	var all config.Faults
	for _, f := range faults {
		all = append(all, config.Fault{Variable: "TENANTS_FILE", Problem: f.Where() + ": " + f.Message, Mend: f.Mend})
	}
	return all
}

// watch takes up what the file comes to say, until ctx ends. What was read before is
// judged here too: that takes as long as reading it, and must not hold up the start.
func (r *registry) watch(ctx context.Context) {
	if r.path == "" {
		return
	}
	r.mu.Lock()
	now := r.now
	r.mu.Unlock()
	r.tell(now)
	r.loader.Watch(ctx, r.path, now, registryLook, r.take)
}

// take takes up a content of the file. One that can't be used leaves the last good
// one where it is.
func (r *registry) take(next *tenantmap.Registry, err error) {
	if err == nil {
		r.use(next)
		r.tell(next)
		return
	}
	faults, ok := errors.AsType[tenantmap.Faults](err)
	if !ok {
		faults = tenantmap.Faults{{Position: tenantmap.Position{File: r.path}, Message: err.Error()}}
	}
	r.mu.Lock()
	r.broken = faults
	r.mu.Unlock()
	r.metrics.RegistryLoad("broken")
	for _, f := range faults[:min(len(faults), maxTold)] {
		r.log.Error("the tenant registry can't be used, the last good one stays", "at", f.Where(), "problem", f.Message, "mend", f.Mend)
	}
}

// use makes a registry the one in use.
func (r *registry) use(next *tenantmap.Registry) {
	r.mu.Lock()
	r.now, r.broken = next, nil
	r.mu.Unlock()
	r.tenants.Use(next)
	r.metrics.RegistryLoad("loaded")
	r.log.Info("took up the tenant registry", "file", r.path, "tenants", next.Len(), "journals", len(next.Set().Journals))
}

// tell warns of what looks wrong in a registry that is in use all the same: one
// customer's mistake must not stop the others. What was said of the content before is
// not said again.
func (r *registry) tell(used *tenantmap.Registry) {
	var findings []journal.Finding
	told := make(map[string]bool)
	for _, f := range used.Set().Lint() {
		known := f.Rule + " " + f.Message
		if told[known] = true; !r.told[known] {
			findings = append(findings, f)
		}
	}
	r.told = told
	for _, f := range findings[:min(len(findings), maxTold)] {
		r.log.Warn("the tenant registry says what SFM would refuse or take otherwise",
			"rule", f.Rule, "severity", f.Severity, "at", used.Position(f.At).String(), "problem", f.Message, "mend", f.Mend)
	}
	if more := len(findings) - maxTold; more > 0 {
		r.log.Warn("the tenant registry has more findings; the command \"sidecar tenants lint\" shows them all", "more", more)
	}
}

// status is what there is to tell now.
func (r *registry) status() registryStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := registryStatus{File: r.path, Broken: slices.Clone(r.broken)}
	if r.now != nil {
		s.Tenants, s.Loaded = r.now.Len(), r.now.LoadedAt()
	}
	return s
}
