package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sfm-sidecar/internal/helseid"
)

// The open questions about HelseID (`--learn`). An answer is only given for what was seen; what stands in the way of
// one is told in its place.
const (
	askRotation = "refresh_token_rotates"
	askSpent    = "spent_refresh_token"
	askNonce    = "nonce_good_twice"
	askLogin    = "log_in_without_organization"
	askForm     = "parent_only_form"
	askScopes   = "scopes_that_come_back"
	askJournal  = "journal_without_scope_of_its_own"
	askLifetime = "token_lifetimes"
)

// journalScope is in HelseID's list of scopes; whether it must be asked for to get the journal claim is not written.
const journalScope = "nhn:sfm:journal-id"

const needsToken = "no token was granted; name a tenant, and a way to tokens: --login, or HELSEID_GRANT=client-credentials"

const needsMany = "HELSEID_TENANCY=single: a client of one organization names neither a parent nor a journal"

const needsLogin = "nobody logged in: run the check with --login"

// learn answers the questions, the one that may cost the log-in last.
func (e *examination) learn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 4*tokenLimit)
	defer cancel()
	for _, q := range []struct {
		name, asks string
		answer     func(context.Context) Answer
	}{
		{askNonce, "Is a DPoP nonce of HelseID good twice?", e.learnNonce},
		{askLogin, "Does a log-in without organization work?", e.learnLogin},
		{askForm, "How is a parent without child written?", e.learnForm},
		{askScopes, "Which scopes come back?", e.learnScopes},
		{askJournal, "Does the journal come without the scope " + journalScope + "?", e.learnJournal},
		{askLifetime, "How long do tokens live?", e.learnLifetimes},
		{askRotation, "Does a refresh token rotate?", e.learnRotation},
		{askSpent, "Is a spent refresh token refused?", e.learnSpent},
	} {
		a := open("HelseID can't be asked; see what failed above")
		if e.report.healthy() {
			a = q.answer(ctx)
		}
		a.Question, a.Asks = q.name, q.asks
		e.report.Answers = append(e.report.Answers, a)
	}
}

// healthy reports whether anything can be learned at all.
func (r *Report) healthy() bool {
	return !slices.ContainsFunc(r.Steps, func(s Step) bool {
		return (s.Name == stepDiscovery || s.Name == stepClock) && s.Status == Failed
	})
}

func open(why string) Answer { return Answer{Sure: Open, How: why} }

func (e *examination) learnNonce(ctx context.Context) Answer {
	switch {
	case !e.o.DPoP:
		return open("SFM_API=v1 uses no DPoP, and so no nonce")
	case e.nonce == "":
		return open("HelseID gave no nonce in the step " + quoted(stepNonce))
	}
	asked := 0
	for range 2 {
		probe, err := e.o.HelseID.ProbeNonce(ctx, e.nonce)
		if fault, bad := unexpected(err); bad {
			return open("a request with a known nonce was refused: " + fault.Found)
		}
		if probe.Challenged {
			asked++
		}
	}
	if asked == 0 {
		return Answer{Answer: "yes", Sure: Likely,
			How: "two requests in a row with the same nonce were taken (requests that can't succeed; with granted ones it may differ); the sidecar sends the last nonce first and saves a round trip"}
	}
	return Answer{Answer: "no", Sure: Likely,
		How: "of two requests in a row with the same nonce HelseID asked for another one at the last; the sidecar repeats such a request once by itself"}
}

// learnLogin pushes a log-in without organization and, where that is refused, one with it. Only a log-in that was
// carried through, with tokens for an organization, makes it certain.
func (e *examination) learnLogin(ctx context.Context) Answer {
	if !e.o.Person {
		return open("HELSEID_GRANT has no user: nobody logs in")
	}
	_, _, err := e.o.HelseID.Push(ctx, e.authorization(false).Authorization)
	if err == nil {
		set := setting(e.o.Authorization.NamesTenant, "HELSEID_LOGIN_TENANT=none")
		if e.login != nil && !e.o.Authorization.NamesTenant && len(e.grants) > 0 {
			return Answer{Answer: "yes", Sure: Certain, How: "a person logged in without organization, and a refresh gave the organization's token", Set: set}
		}
		return Answer{Answer: "yes", Sure: Likely, How: "HelseID took the authorization request; --login with HELSEID_LOGIN_TENANT=none and a tenant carries it through", Set: set}
	}
	said := explain(err).Found
	if len(e.o.Tenants) == 0 {
		return open("HelseID refused it (" + said + "); name a tenant, so that a log-in for it can be tried")
	}
	if _, _, err := e.o.HelseID.Push(ctx, e.authorization(true).Authorization); err != nil {
		return open("HelseID refused it (" + said + "), but a log-in for a tenant too: the reason is another")
	}
	return Answer{Answer: "no", Sure: Certain, How: "HelseID refused it (" + said + ") and took the same with an organization in a request object",
		Set: setting(!e.o.Authorization.NamesTenant, "HELSEID_LOGIN_TENANT=request-object")}
}

// setting is a line to set, where it is not so already.
func setting(differs bool, line string) []string {
	if !differs {
		return nil
	}
	return []string{line}
}

// The two forms of a parent without child.
var parentForms = []string{helseid.ParentOnlyColon, helseid.ParentOnlyBare}

// learnForm asks for a token for a parent alone in both forms. Where no such tenant was named, the first one's parent is
// taken, with its journal: the token is thrown away.
func (e *examination) learnForm(ctx context.Context) Answer {
	switch {
	case e.o.SingleTenant:
		return open(needsMany)
	case len(e.o.Tenants) == 0 || e.o.WithForm == nil:
		return open("name a tenant")
	}
	t := e.o.Tenants[0].Tenant
	if at := slices.IndexFunc(e.o.Tenants, func(t Tenant) bool { return t.Child == "" }); at >= 0 {
		t = e.o.Tenants[at].Tenant
	}
	t.Child = ""
	var taken, said []string
	for _, form := range parentForms {
		client, err := e.o.WithForm(form)
		if err != nil {
			return open("the other form could not be tried: " + err.Error())
		}
		_, err = e.ask(ctx, client, t)
		switch {
		case errors.Is(err, errNoMeans):
			return open(needsToken)
		case err == nil:
			taken = append(taken, form)
		case !final(err):
			return open("no answer to the form " + form + ": " + explain(err).Found)
		default:
			said = append(said, form+": "+explain(err).Found)
		}
	}
	switch len(taken) {
	case 0:
		return open("both forms were refused, so the reason is another (" + strings.Join(said, "; ") + ")")
	case len(parentForms):
		return Answer{Answer: "both", Sure: Certain, How: "a token was granted for either form, and it named the parent alone"}
	}
	return Answer{Answer: taken[0], Sure: Certain, How: "a token was granted for this form alone; the other was refused (" + said[0] + ")",
		Set: setting(taken[0] != e.o.ParentOnlyForm, "HELSEID_PARENT_ONLY_FORM="+taken[0])}
}

// final reports whether HelseID itself refused, and for a reason that stays.
func final(err error) bool {
	r, ok := errors.AsType[refusal](err)
	return ok && r.Code() != "helseid-unavailable" && r.Code() != "limit-reached"
}

func (e *examination) learnScopes(context.Context) Answer {
	if len(e.grants) == 0 {
		return open(needsToken)
	}
	g := e.grants[0]
	slices.Sort(g.scopes)
	a := Answer{Answer: strings.Join(g.scopes, " "), Sure: Certain, How: "the scopes in the token for " + g.tenant.Label}
	var left []string
	for _, scope := range e.asked() {
		if !slices.Contains(g.scopes, scope) {
			left = append(left, scope)
		}
	}
	if len(left) > 0 {
		a.How += "; of what was asked for it lacks " + strings.Join(left, " ")
	} else {
		a.How += "; nothing of what was asked for is missing"
	}
	return a
}

// asked are the scopes that a token could have.
func (e *examination) asked() []string {
	if !e.o.byPerson() {
		return e.o.Request(e.o.Tenants[0].Tenant, false).Wanted
	}
	return e.o.Authorization.Scopes
}

func (e *examination) learnJournal(context.Context) Answer {
	if e.o.SingleTenant {
		return open(needsMany) // its journal is registered with it
	}
	asked := slices.Contains(e.o.Authorization.Scopes, journalScope)
	for _, s := range e.report.Steps {
		for _, d := range s.Details {
			if s.Name == stepToken && d.Name == "claim" && d.Value == journalScope && !asked {
				return Answer{Answer: "no", Sure: Likely, How: "the token for " + s.Subject + " came without the journal, and the scope had not been asked for; ask for it and check again",
					Set: []string{"HELSEID_LOGIN_SCOPES=… " + journalScope}}
			}
		}
	}
	switch {
	case len(e.grants) == 0:
		return open(needsToken)
	case asked:
		return open("the scope is asked for; leave it out of HELSEID_LOGIN_SCOPES and HELSEID_SCOPES to see whether it is needed")
	}
	return Answer{Answer: "yes", Sure: Certain, How: "the token names the journal, and the scope was not asked for"}
}

func (e *examination) learnLifetimes(context.Context) Answer {
	if len(e.grants) == 0 {
		return open(needsToken)
	}
	a := Answer{Answer: "access token " + span(e.grants[0].lifetime), Sure: Certain, How: "as HelseID says with the token (expires_in)"}
	if e.login != nil && e.login.lifetime > 0 {
		a.Answer += ", refresh token " + span(e.login.lifetime)
		a.How = "as HelseID says with the tokens (expires_in, rt_expires_in)"
	}
	return a
}

// learnRotation counts what the refreshes of the check brought; with too few, it makes another, for no organization.
func (e *examination) learnRotation(ctx context.Context) Answer {
	if e.login == nil {
		return open(needsLogin)
	}
	for e.login.renewed < 2 {
		if _, err := e.refreshFor(ctx, e.o.HelseID, helseid.Request{NoTenant: true}); err != nil {
			return open("a refresh was refused: " + explain(err).Found)
		}
	}
	l := e.login
	switch {
	case l.rotated == 0:
		return Answer{Answer: "no", Sure: Certain, How: fmt.Sprintf("%d refreshes were made with one and the same token; the sidecar keeps it where no other comes", l.renewed)}
	case l.rotated < l.renewed:
		return Answer{Answer: "sometimes", Sure: Certain, How: fmt.Sprintf("%d of %d refreshes brought another token; the sidecar stores each before using it", l.rotated, l.renewed)}
	}
	return Answer{Answer: "yes", Sure: Certain, How: fmt.Sprintf("each of %d refreshes brought another token; the sidecar stores each before using it, and never sends two refreshes of a log-in at once", l.renewed)}
}

// learnSpent shows a spent refresh token once more. That may end the log-in, which is the check's own and over anyway.
func (e *examination) learnSpent(ctx context.Context) Answer {
	switch {
	case e.login == nil:
		return open(needsLogin)
	case e.login.before == "":
		return open("refresh tokens do not rotate, so none is spent")
	}
	_, err := e.o.HelseID.Refresh(ctx, e.login.before, helseid.Request{NoTenant: true})
	if err == nil {
		return Answer{Answer: "no", Sure: Certain, How: "HelseID took a refresh token for which it had given another: a lost answer costs no log-in"}
	}
	if r, ok := errors.AsType[refusal](err); !ok || r.OAuthError() != "invalid_grant" {
		return open("the spent token got another answer: " + explain(err).Found)
	}
	return Answer{Answer: "yes", Sure: Certain, How: "HelseID refused a refresh token for which it had given another; if an answer is lost, the person may have to log in again"}
}
