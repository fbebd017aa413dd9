package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// roundTrip is what a client can tell of a call that may go wrong.
type roundTrip struct {
	answer
	err     error // none, of the connection, or of the body
	inBody  bool  // err came while the body was read
	partial int   // bytes of the body before that
}

func (e *epj) try(r *http.Request) roundTrip {
	e.t.Helper()
	response, err := e.client.Do(r)
	if err != nil {
		return roundTrip{err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return roundTrip{answer: answer{response.StatusCode, response.Header, body, response.Trailer}, err: err, inBody: err != nil, partial: len(body)}
}

func TestFaults(t *testing.T) {
	for _, row := range []struct {
		fault  SFMFault
		status int // in the ledger; 0 = no answer
		good   func(roundTrip) bool
	}{
		{SFMFault{Kind: FaultStatus, Status: 503, RetryAfterS: 7}, 503, func(r roundTrip) bool { return r.status == 503 && r.header.Get("Retry-After") == "7" }},
		{SFMFault{Kind: FaultStatus}, 500, func(r roundTrip) bool { return r.status == 500 && r.header.Get("Retry-After") == "" }},
		{SFMFault{Kind: FaultReset}, 0, func(r roundTrip) bool { return r.err != nil && !r.inBody }},
		{SFMFault{Kind: FaultClose}, 0, func(r roundTrip) bool { return r.err != nil && !r.inBody }},
		{SFMFault{Kind: FaultCutHeaders}, 0, func(r roundTrip) bool { return r.err != nil && !r.inBody }},
		{SFMFault{Kind: FaultResetHalf}, 200, func(r roundTrip) bool { return r.status == 200 && r.inBody }},
		{SFMFault{Kind: FaultGarbage}, 200, func(r roundTrip) bool { return r.status == 200 && !json.Valid(r.body) }},
		{SFMFault{Kind: FaultDelay, DelayMS: 30}, 200, func(r roundTrip) bool { return r.status == 200 && json.Valid(r.body) }},
	} {
		for _, moment := range []string{BeforeBody, BeforeWork, AfterWork} {
			t.Run(row.fault.Kind+" "+moment, func(t *testing.T) {
				fault := row.fault
				fault.When, fault.Count, fault.Path = moment, 1, sendPath
				e := newEPJ(t)
				e.setSFM(func(k *SFMKnobs) { k.Faults = []SFMFault{fault} })
				body := SampleSendMedication(testPID, moment)
				e.mustCall("POST", getPath, SampleGetMedication(testPID)) // another path: no fault

				start := time.Now()
				if got := e.try(e.request("POST", sendPath, body)); !row.good(got) {
					t.Errorf("the client saw status %d, error %v", got.status, got.err)
				}
				if waited := time.Since(start); waited < time.Duration(fault.DelayMS)*time.Millisecond {
					t.Errorf("answered after %v", waited)
				}
				o := e.last()
				done := moment == AfterWork || fault.Kind == FaultDelay
				if o.WorkDone != done || o.Status != row.status || o.Fault != fault.Kind+"/"+moment || !o.Accepted {
					t.Errorf("the ledger says %+v", o)
				}
				if n := e.sim.WorkDone(sendPath, sha(body)); n != map[bool]int{true: 1}[done] {
					t.Errorf("work done %d times", n)
				}
				if (o.BodyLength == 0) != (moment == BeforeBody && fault.Kind != FaultDelay) {
					t.Errorf("%d bytes of the body read", o.BodyLength)
				}
				if left := e.sim.knobs().SFM.Faults; len(left) != 0 {
					t.Errorf("the fault is still there: %v", left)
				}
				e.mustCall("POST", sendPath, body) // once means once
			})
		}
	}
}

func TestFaultsAreChosen(t *testing.T) {
	e := newEPJ(t)
	e.setSFM(func(k *SFMKnobs) {
		k.Faults = []SFMFault{
			{Kind: FaultStatus, Status: 501, Method: "DELETE"},
			{Kind: FaultStatus, Status: 502, Path: "/Organization", Count: 2},
			{Kind: FaultStatus, Status: 503}, // for ever
		}
	})
	for i, row := range []struct {
		path string
		want int
	}{{"/Organization", 502}, {"/Task", 503}, {"/Organization", 502}, {"/Organization", 503}, {"/Organization", 503}} {
		if got := e.call("GET", row.path, nil); got.status != row.want {
			t.Errorf("call %d: status %d, want %d", i, got.status, row.want)
		}
	}
	e.setSFM(func(k *SFMKnobs) { k.Faults = nil })
	e.mustCall("GET", "/Organization", nil)
}

// TestFaultsSpareRefusedCalls: a call without authentication uses up no fault.
func TestFaultsSpareRefusedCalls(t *testing.T) {
	e := newEPJ(t)
	e.setSFM(func(k *SFMKnobs) { k.Faults = []SFMFault{{Kind: FaultReset, Count: 1}} })
	r := e.request("GET", "/Task", nil)
	r.Header.Del("DPoP")
	if got := e.send(r); got.status != 401 {
		t.Fatalf("status %d", got.status)
	}
	if n := len(e.sim.knobs().SFM.Faults); n != 1 {
		t.Errorf("%d faults left", n)
	}
}

// TestHalfOfAStream: a download breaks off in the middle, with and without a length.
func TestHalfOfAStream(t *testing.T) {
	for _, query := range []string{"?bytes=1000000", "?bytes=1000000&length=1"} {
		e := newEPJ(t)
		e.setSFM(func(k *SFMKnobs) { k.Faults = []SFMFault{{Kind: FaultResetHalf, When: AfterWork}} })
		got := e.try(e.request("GET", "/download"+query, nil))
		if got.status != 200 || !got.inBody || got.partial > 500000 || len(got.trailer.Get(downloadTrailer)) > 0 {
			t.Errorf("%s: status %d, %d bytes, error %v", query, got.status, got.partial, got.err)
		}
	}
}

// TestDelayEndsWithTheClient: work that was not done yet is not done for somebody who has left.
func TestDelayEndsWithTheClient(t *testing.T) {
	e := newEPJ(t)
	e.setSFM(func(k *SFMKnobs) { k.Faults = []SFMFault{{Kind: FaultDelay, DelayMS: 60_000}} })
	body := SampleSendMedication(testPID, "left")
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	r := e.request("POST", sendPath, body).WithContext(ctx)
	go func() { // leaves as soon as the stand-in has the body and waits
		for ctx.Err() == nil {
			if list := e.sim.Ledger(); len(list) > 0 && list[0].Fault != "" {
				leave()
			}
			time.Sleep(time.Millisecond) // between two looks
		}
	}()
	if got := e.try(r); got.err == nil {
		t.Fatalf("status %d", got.status)
	}
	gone := make(chan struct{})
	go func() { e.serving.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-time.After(30 * time.Second):
		t.Fatal("SFM goes on waiting for a client that has left")
	}
	if o := e.last(); o.WorkDone || o.Status != 0 || o.BodySHA256 != sha(body) {
		t.Errorf("the ledger says %+v", o)
	}
}

func TestExpect(t *testing.T) {
	for _, row := range []struct {
		knob    string
		waiting time.Duration // of the client, for 100 Continue
		status  int
		read    int
		least   time.Duration
	}{
		{"", 10 * time.Second, 200, 200_000, 0},
		{expectRefuse, 10 * time.Second, 417, 0, 0},
		{expectSilent, 60 * time.Millisecond, 200, 200_000, 60 * time.Millisecond},
	} {
		for _, length := range []int64{200_000, -1} {
			t.Run(row.knob, func(t *testing.T) {
				e := newEPJ(t)
				e.setSFM(func(k *SFMKnobs) { k.Expect = row.knob })
				transport := &http.Transport{ExpectContinueTimeout: row.waiting, DisableCompression: true}
				defer transport.CloseIdleConnections()
				e.client.Transport = transport
				body := &countingBody{left: 200_000}
				r := e.request("PUT", "/echo", nil)
				r.Body, r.ContentLength, r.GetBody = body, length, nil
				r.Header.Set("Expect", "100-continue")
				start := time.Now()
				got := e.send(r)
				if got.status != row.status || body.read != row.read || time.Since(start) < row.least {
					t.Errorf("status %d after %v, %d bytes sent", got.status, time.Since(start), body.read)
				}
				if row.status == 200 {
					if o := e.last(); o.BodySHA256 != sha(make([]byte, 200_000)) || !bytes.Contains(got.body, []byte(o.BodySHA256)) {
						t.Errorf("the body arrived wrong: %d bytes", o.BodyLength)
					}
				}
			})
		}
	}
}

// TestSilentAndFaulty: the two knobs together; the connection is not net/http's any more.
func TestSilentAndFaulty(t *testing.T) {
	for _, kind := range []string{FaultReset, FaultStatus, FaultResetHalf} {
		e := newEPJ(t)
		e.setSFM(func(k *SFMKnobs) { k.Expect, k.Faults = expectSilent, []SFMFault{{Kind: kind, When: AfterWork}} })
		e.client.Transport.(*http.Transport).ExpectContinueTimeout = 10 * time.Millisecond
		body := SampleSendMedication(testPID, kind)
		r := e.request("POST", sendPath, body)
		r.Header.Set("Expect", "100-continue")
		got := e.try(r)
		if (kind == FaultStatus) != (got.status == 500) || e.sim.WorkDone(sendPath, sha(body)) != 1 {
			t.Errorf("%s: status %d, error %v", kind, got.status, got.err)
		}
	}
}

func TestKnobsFromOutsideAreChecked(t *testing.T) {
	for says, knobs := range map[string]SFMKnobs{
		"":                        {Expect: expectSilent, Faults: []SFMFault{{Kind: FaultReset, When: AfterWork}}},
		"sfm.expect":              {Expect: "loud"},
		"sfm.answer_bytes":        {AnswerBytes: -1},
		"sfm.faults[0].kind":      {Faults: []SFMFault{{}}},
		"sfm.faults[0].when":      {Faults: []SFMFault{{Kind: FaultReset, When: "later"}}},
		"sfm.faults[0].status":    {Faults: []SFMFault{{Kind: FaultStatus, Status: 100}}},
		"sfm.faults[0].delay_ms":  {Faults: []SFMFault{{Kind: FaultDelay, DelayMS: -1}}},
		"sfm.faults[0].count":     {Faults: []SFMFault{{Kind: FaultDelay, Count: -1}}},
		"sfm.reject_tokens":       {RejectTokens: -1},
		"sfm.stale_nonces, but n": {StaleNonces: 1},
	} {
		err := knobs.validate()
		switch {
		case says == "" && err != nil:
			t.Errorf("good knobs are refused: %v", err)
		case says != "" && (err == nil || !strings.Contains(err.Error(), says)):
			t.Errorf("want an error about %s, got %v", says, err)
		}
	}
}
