package doctor

import (
	"fmt"
	"strconv"
	"time"

	"sfm-sidecar/internal/helseid"
)

// StoreDPoP is what was found out about the DPoP key that replicas share.
type StoreDPoP struct {
	// State is "held"; "newer": held, with more beside it that only a later version can read; "none"; "unopened"; or "" =
	// can't be told. Problem says why of the last two.
	State, Problem string
	Thumbprint     string
	Since          time.Time // zero = not known
	Earlier        []StoreDPoPEarlier
}

// StoreDPoPEarlier is a key that was replaced, and until when it is kept.
type StoreDPoPEarlier struct {
	Thumbprint string
	Until      time.Time
}

// dpop: a key that can't be opened stops no call, and nobody would notice.
func (k StoreDPoP) dpop() Finding {
	switch k.State {
	case "none":
		return good("no DPoP key", "the first sidecar that starts makes one, and all use it")
	case "unopened":
		return wrong("the DPoP key is there, and can't be opened: "+k.Problem,
			"a sidecar that starts now uses a DPoP key of its own, and shares no tokens with the others; calls go on",
			"put the key that sealed it back into SIDECAR_STORE_KEY, or update to the version that wrote it; where neither can be had, "+
				"sidecar keys dpop rotate --now puts a new key in its place")
	case "":
		return careful("whether there is a DPoP key could not be told: "+k.Problem, "a sidecar that can't read it uses one of its own until it can", "run the check again")
	}
	f := good("the DPoP key "+k.Thumbprint+", in use since "+k.since()+k.earlier(), "all sidecars that use the store prove tokens with it, and share them")
	if k.State == "newer" {
		f = careful(f.Found+"; what stands beside it was written by a later version", "earlier keys are not known here, and a rotation is refused",
			"update this sidecar")
	}
	f.Details = Details{{Name: "dpop_key", Value: k.Thumbprint}, {Name: "since", Value: k.since()}}
	for i, e := range k.Earlier {
		f.Details = append(f.Details, helseid.Fact{Name: "earlier_" + strconv.Itoa(i+1), Value: e.Thumbprint + " until " + moment(e.Until)})
	}
	return f
}

func (k StoreDPoP) since() string {
	if k.Since.IsZero() {
		return "a time that is not known"
	}
	return moment(k.Since)
}

func (k StoreDPoP) earlier() string {
	if len(k.Earlier) == 0 {
		return ""
	}
	return fmt.Sprintf("; %d earlier, the last one is dropped at %s", len(k.Earlier), moment(k.Earlier[0].Until))
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }
