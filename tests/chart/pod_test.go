package chart_test

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

const sidecar = "sfm-sidecar"

// TestRestricted holds every pod to the restricted Pod Security Standard, by the
// cluster's own code.
func TestRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for set := range sets {
		for kind, pod := range pods(t, set) {
			for _, result := range evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec) {
				if !result.Allowed {
					t.Errorf("%s %s: %s: %s", set, kind, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
			checkRights(t, set, pod.Spec)
		}
	}
}

// checkRights checks what the standard does not ask for.
func checkRights(t *testing.T, set string, pod core.PodSpec) {
	t.Helper()
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Errorf("%s: a token for the cluster's API is mounted", set)
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		s := c.SecurityContext
		if s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.RunAsUser == nil || *s.RunAsUser != 65532 {
			t.Errorf("%s: %s may write its root, or is another user", set, c.Name)
		}
	}
	c, _ := find(t, pod)
	for _, mount := range c.VolumeMounts {
		if !mount.ReadOnly || mount.SubPath != "" {
			t.Errorf("%s: %s is writable, or a subPath, which would never change", set, mount.Name)
		}
		if !slices.ContainsFunc(pod.Volumes, func(v core.Volume) bool { return v.Name == mount.Name }) {
			t.Errorf("%s: there is no volume %s", set, mount.Name)
		}
	}
	if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
		t.Errorf("%s: resources are not bounded", set)
	}
}

// find returns the sidecar's container and whether it is a native one. There must be
// exactly one.
func find(t *testing.T, pod core.PodSpec) (core.Container, bool) {
	t.Helper()
	isSidecar := func(c core.Container) bool { return c.Name == sidecar }
	initial, beside := slices.IndexFunc(pod.InitContainers, isSidecar), slices.IndexFunc(pod.Containers, isSidecar)
	switch {
	case initial >= 0 && beside < 0:
		return pod.InitContainers[initial], true
	case beside >= 0 && initial < 0:
		return pod.Containers[beside], false
	}
	t.Fatal("the pod has no sidecar, or two")
	return core.Container{}, false
}

func TestForms(t *testing.T) {
	for set := range sets {
		for kind, pod := range pods(t, set) {
			c, native := find(t, pod.Spec)
			if native != (set != "ordinary") {
				t.Errorf("%s %s: native is %v", set, kind, native)
			}
			always := c.RestartPolicy != nil && *c.RestartPolicy == core.ContainerRestartPolicyAlways
			if always != native {
				t.Errorf("%s %s: restartPolicy Always is %v, but native %v", set, kind, always, native)
			}
			for name, probe := range map[string]*core.Probe{"startup": c.StartupProbe, "ready": c.ReadinessProbe, "live": c.LivenessProbe} {
				if probe == nil || probe.Exec == nil || !slices.Equal(probe.Exec.Command, []string{"/sidecar", "probe", name}) {
					t.Errorf("%s %s: the probe %s is not the program's own", set, kind, name)
				}
			}
		}
	}
}

// TestEnd checks the arithmetic of the pod's end: the EPJ's own time and then that of
// open calls must fit into the grace period, with a little left.
func TestEnd(t *testing.T) {
	app := map[string]time.Duration{"native": 30, "ordinary": 60, "everything": 20, "job": 5, "demo": 30}
	for set := range sets {
		for kind, pod := range pods(t, set) {
			c, native := find(t, pod.Spec)
			least, most := span(t, c, "SIDECAR_MIN_SIGTERM_DELAY"), span(t, c, "SIDECAR_MAX_SIGTERM_DELAY")
			begins := app[set] * time.Second // when the sidecar gets SIGTERM, after the pod
			if native && least != 0 {
				t.Errorf("%s %s: waits %v for an EPJ that has ended", set, kind, least)
			}
			if !native {
				if begins = 0; least < app[set]*time.Second {
					t.Errorf("%s %s: serves %v, shorter than the EPJ needs", set, kind, least)
				}
			}
			if open := most - least; open < span(t, c, "SFM_RESPONSE_TIMEOUT") {
				t.Errorf("%s %s: open calls have only %v", set, kind, open)
			}
			if grace := time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second; begins+most >= grace {
				t.Errorf("%s %s: %v after the beginning it is killed, but needs %v", set, kind, grace, begins+most)
			}
		}
	}
}

func span(t *testing.T, c core.Container, name string) time.Duration {
	t.Helper()
	for _, v := range c.Env {
		if v.Name == name {
			d, err := time.ParseDuration(v.Value)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
	}
	t.Fatalf("%s is not set", name)
	return 0
}

// TestSecretsByReference looks for secrets in the environment of the sidecar.
func TestSecretsByReference(t *testing.T) {
	secret := map[string]bool{}
	for _, v := range variables(t) {
		secret[v.name] = secret[v.name] || v.secret
	}
	for set := range sets {
		for _, pod := range pods(t, set) {
			c, _ := find(t, pod.Spec)
			for _, v := range c.Env {
				if secret[v.Name] && (v.Value != "" || v.ValueFrom == nil || v.ValueFrom.SecretKeyRef == nil) {
					t.Errorf("%s: %s is written out", set, v.Name)
				}
			}
		}
	}
}

func TestEgress(t *testing.T) {
	for set, rules := range map[string]int{"everything": 5, "demo": 1} {
		var found int
		for _, object := range objectsOf(t, set) {
			p, ok := object.(*networking.NetworkPolicy)
			if !ok {
				continue
			}
			found++
			if !slices.Equal(p.Spec.PolicyTypes, []networking.PolicyType{networking.PolicyTypeEgress}) || len(p.Spec.PodSelector.MatchLabels) == 0 {
				t.Errorf("%s: %+v", set, p.Spec)
			}
			if len(p.Spec.Egress) != rules {
				t.Errorf("%s: %d rules, want %d", set, len(p.Spec.Egress), rules)
			}
			var ports []int32
			for _, rule := range p.Spec.Egress {
				checkRule(t, rule)
				for _, port := range rule.Ports {
					ports = append(ports, port.Port.IntVal)
				}
			}
			if set == "everything" && (!slices.Contains(ports, 6379) || !slices.Contains(ports, 26379)) {
				t.Errorf("servers and sentinels can't both be reached: %v", ports)
			}
		}
		if found != 1 {
			t.Errorf("%s: %d policies", set, found)
		}
	}
}

// TestStorePort sees that one port does where no list of ports is given.
func TestStorePort(t *testing.T) {
	out, stderr, err := helm(t, "template", "release", filepath.Join(charts(t), "epj"), "--values", filepath.Join("testdata", "values", "everything.yaml"),
		"--set-json", "sfm-sidecar.networkPolicy.store.ports=[]", "--set", "sfm-sidecar.networkPolicy.store.port=16379")
	if err != nil || !strings.Contains(out, "{port: 16379, protocol: TCP}") || strings.Contains(out, "port: 6379,") {
		t.Errorf("%v %s: the store's port is not the one that was given", err, stderr)
	}
}

// checkRule fails where a rule leads to everyone, or to every port.
func checkRule(t *testing.T, rule networking.NetworkPolicyEgressRule) {
	t.Helper()
	if len(rule.To) == 0 || len(rule.Ports) == 0 {
		t.Errorf("an open rule: %+v", rule)
	}
	for _, port := range rule.Ports {
		if port.Port == nil || port.Protocol == nil || port.EndPort != nil {
			t.Errorf("more than one port: %+v", port)
		}
	}
	for _, to := range rule.To {
		if to.IPBlock != nil {
			prefix, err := netip.ParsePrefix(to.IPBlock.CIDR)
			if err != nil || prefix.Bits() < 8 {
				t.Errorf("%s: %v", to.IPBlock.CIDR, err)
			}
			continue
		}
		if to.NamespaceSelector == nil || to.PodSelector == nil || len(to.NamespaceSelector.MatchLabels) == 0 || len(to.PodSelector.MatchLabels) == 0 {
			t.Errorf("leads to a whole namespace, or to all: %+v", to)
		}
	}
}

// TestSelectors sees that the objects beside the pod find it.
func TestSelectors(t *testing.T) {
	pod := pods(t, "everything")["Deployment"]
	c, _ := find(t, pod.Spec)
	if len(c.Ports) != 1 || c.Ports[0].Name != "sfm-admin" {
		t.Errorf("ports: %+v", c.Ports)
	}
	if got := render(t, "everything"); strings.Count(got, "matchLabels:\n      app: epj\n") != 4 || pod.Labels["app"] != "epj" {
		t.Errorf("the four selectors are not all of the pod's label:\n%s", got)
	}
}
