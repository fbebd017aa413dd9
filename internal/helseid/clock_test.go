package helseid

import (
	"net/http"
	"testing"
	"time"
)

func TestClockOffset(t *testing.T) {
	base := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for name, tc := range map[string]struct {
		offsets  []time.Duration // of HelseID to us, one answer each
		system   bool
		measured time.Duration
		applied  time.Duration
	}{
		"no answer yet":         {},
		"in step":               {offsets: []time.Duration{0}},
		"less than rounding":    {offsets: []time.Duration{400 * time.Millisecond}, measured: 400 * time.Millisecond},
		"a minute behind":       {offsets: []time.Duration{time.Minute}, measured: time.Minute, applied: time.Minute},
		"a minute ahead":        {offsets: []time.Duration{-time.Minute}, measured: -time.Minute, applied: -time.Minute},
		"one odd answer":        {offsets: []time.Duration{0, 0, 0, time.Hour, 0}},
		"a new time":            {offsets: []time.Duration{0, 0, 0, 0, 0, time.Minute, time.Minute, time.Minute}, measured: time.Minute, applied: time.Minute},
		"beyond the limit":      {offsets: []time.Duration{time.Hour}, measured: time.Hour, applied: 5 * time.Minute},
		"beyond the limit back": {offsets: []time.Duration{-time.Hour}, measured: -time.Hour, applied: -5 * time.Minute},
		"system":                {offsets: []time.Duration{time.Minute}, system: true, measured: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			c := clock{wall: func() time.Time { return base }, system: tc.system}
			for _, d := range tc.offsets {
				// Half a second after base, so that the header's cut-off half second comes out even.
				ours := base.Add(500 * time.Millisecond)
				h := http.Header{"Date": {ours.Add(d).Format(http.TimeFormat)}}
				if _, _, ok := c.sample(h, ours.Add(-time.Second), ours.Add(time.Second)); !ok {
					t.Fatal("not learned")
				}
			}
			if got := c.measured(); (got - tc.measured).Abs() > 500*time.Millisecond {
				t.Errorf("measured %v, want %v", got, tc.measured)
			}
			if got := c.now().Sub(base); (got-tc.applied).Abs() > 500*time.Millisecond || tc.applied == 0 && got != 0 {
				t.Errorf("applied %v, want %v", got, tc.applied)
			}
			if c.far() != (tc.measured.Abs() > clockLimit) {
				t.Error("far is wrong")
			}
		})
	}
}

// An offset below a second is the rounding of the header, and must not make our clock tremble.
func TestClockDoesNotTremble(t *testing.T) {
	base := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	c := clock{wall: func() time.Time { return base }}
	ours := base.Add(900 * time.Millisecond)
	if _, after, ok := c.sample(http.Header{"Date": {base.Format(http.TimeFormat)}}, ours, ours); !ok || after == 0 {
		t.Fatal("not measured")
	}
	if c.offset() != 0 {
		t.Error("rounding was applied")
	}
}

func TestClockIgnores(t *testing.T) {
	now := time.Now()
	date := now.Add(time.Hour).UTC().Format(http.TimeFormat)
	for name, tc := range map[string]struct {
		h    http.Header
		took time.Duration
	}{
		"no date":      {http.Header{}, 0},
		"bad date":     {http.Header{"Date": {"yesterday"}}, 0},
		"slow":         {http.Header{"Date": {date}}, 5 * time.Second},
		"clock jumped": {http.Header{"Date": {date}}, -time.Second},
		"a cache's":    {http.Header{"Date": {date}, "Age": {"100"}}, 0},
	} {
		c := clock{wall: time.Now}
		if _, _, ok := c.sample(tc.h, now, now.Add(tc.took)); ok || c.offset() != 0 {
			t.Errorf("%s: learned", name)
		}
	}
}

// With a clock two minutes slow, assertion and proof are dated by HelseID's clock from the first token request on: the
// metadata's answer has told the time.
func TestClockIsCorrectedOnTheWire(t *testing.T) {
	for _, system := range []bool{false, true} {
		f := newFake(t)
		jwk := testJWK(t, "")
		const behind = 2 * time.Minute
		c := f.client(func(o *Options) {
			key, _ := ParseKeys(jwk)
			o.Keys, o.SystemClock = NewKeyRing(key), system
			o.Wall = func() time.Time { return time.Now().Add(-behind) }
		})
		if _, err := refresh(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		want := time.Now()
		if system {
			want = want.Add(-behind)
		}
		_, claims := openAssertion(t, f.posts()[0].form, jwk)
		for what, at := range map[string]any{"assertion": claims["iat"], "proof": proofClaims(t, f.posts()[0])["iat"]} {
			if off := want.Sub(time.Unix(int64(at.(float64)), 0)).Abs(); off > 5*time.Second {
				t.Errorf("system %v: the %s is dated %v off", system, what, off)
			}
		}
		if off := want.Sub(c.Now()).Abs(); off > 2*time.Second {
			t.Errorf("system %v: Now is %v off", system, off)
		}
		if len(f.warnings) != 1 || len(f.skews) < 2 || (f.skews[0]-behind).Abs() > 2*time.Second {
			t.Errorf("system %v: %d warnings, skews %v", system, len(f.warnings), f.skews)
		}
	}
}

// When only the refusal tells the time, the request is dated anew and made once more.
func TestRefusalThatTellsTheTime(t *testing.T) {
	f := newFake(t)
	f.post = func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 2 {
			w.Header().Set("Date", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat))
			writeError(w, 401, errInvalidClient, "")
			return
		}
		f.grant(w, nil, nil)
	}
	c := f.client(nil)
	if _, err := refresh(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	c.clock.samples = nil // as if HelseID had not been heard for a while
	if _, err := refresh(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := proofClaims(t, f.posts()[2])["iat"].(float64); time.Until(time.Unix(int64(got), 0)) < 55*time.Second {
		t.Error("the repeat is not dated by HelseID's clock")
	}
}

// When a clock is set, one refusal is enough to follow it: the newest answer counts alone. A good answer with an odd
// date changes nothing.
func TestClockFollowsAJump(t *testing.T) {
	base := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	sample := func(c *clock, offset time.Duration) {
		h := http.Header{"Date": {base.Add(offset).Format(http.TimeFormat)}}
		c.sample(h, base, base)
	}
	for name, tc := range map[string]struct {
		jump, want time.Duration
		refused    bool
	}{
		"refused":            {jump: 90 * time.Second, want: 90 * time.Second, refused: true},
		"granted":            {jump: 90 * time.Second, want: 0},
		"refused, no jump":   {jump: time.Second, want: 0, refused: true},
		"refused, back hour": {jump: -time.Hour, want: -clockLimit, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := clock{wall: func() time.Time { return base }}
			c.trustNewest() // without samples nothing happens
			for range clockSamples {
				sample(&c, 0)
			}
			sample(&c, tc.jump)
			if tc.refused {
				c.trustNewest()
			}
			if got := c.offset(); (got - tc.want).Abs() > time.Second {
				t.Errorf("offset %v, want about %v", got, tc.want)
			}
		})
	}
}

// Who asks for nothing else learns the time all the same, and asks once.
func TestLearnTime(t *testing.T) {
	f := newFake(t)
	c := f.client(func(o *Options) { o.Wall = func() time.Time { return time.Now().Add(-3 * time.Minute) } })
	for range 2 {
		c.LearnTime(t.Context())
		if off := time.Until(c.Now()); off.Abs() > 5*time.Second {
			t.Errorf("the time is %v off", off)
		}
	}
	if n := f.fetched(wellKnown); n != 1 {
		t.Errorf("HelseID was asked %d times", n)
	}
}
