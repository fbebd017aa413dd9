package simulator

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// JournalKnobs are what nobody outside knows of SFM's ways with journals and organizations. The zero value is the
// reading that the documents make likeliest.
type JournalKnobs struct {
	// UnknownStatus answers a call in a journal that does not exist: 401, 403 or 404. 0 = 403.
	UnknownStatus int `json:"unknown_status"`
	// RuleStatus answers what breaks a rule of the model, 400 to 499. 0 = 422.
	RuleStatus int `json:"rule_status"`
	// SFMIDSystem is the system of an Organization's SFM-id identifier. "" = any whose system or type has "sfm-id" or
	// "journal-id" in it; where there is none, any of a system the stand-in does not know whose value is a UUID.
	SFMIDSystem string `json:"sfm_id_system"`
	// CreateOwnOnly holds a create in an existing journal to the token's own organization number too. Otherwise the
	// token of an organization that is written already may add another one: so a new number replaces an old one.
	CreateOwnOnly bool `json:"create_own_only"`
	// AttachIDs lets an Organization posted to an existing journal bring another SFM-id than the token's, unused so
	// far, which leads to the same journal from then on.
	AttachIDs bool `json:"attach_ids"`
	// SameOrgnrPartOf lets an organization number occur twice in a journal, when one is partOf the other and their
	// HER-ids differ. The lower one is then the entry.
	SameOrgnrPartOf bool `json:"same_orgnr_part_of"`
	// RequireUser refuses every call of a person who is not written to the journal; otherwise only the create of an
	// Organization asks for that.
	RequireUser bool `json:"require_user"`
	// RequireEPJInfo refuses to make an organization active without the epjinfo extension.
	RequireEPJInfo bool `json:"require_epj_info"`
	// LastPassive lets the last active organization of a journal be made passive.
	LastPassive bool `json:"last_passive"`
	// NoFallback refuses a token whose child is not written to the journal, in place of going on with the parent.
	NoFallback bool `json:"no_fallback"`
	// PassiveEntry lets prescriptions through whose entry organization is passive.
	PassiveEntry bool `json:"passive_entry"`
	// SenderStops ends the search for the sender's address and telephone at the organization of the HER-id; otherwise
	// it goes on to the top.
	SenderStops bool `json:"sender_stops_at_her_id"`
	// RFMissing are HER-ids that RF has lost: whatever SFM registered, there is no such Aktør.
	RFMissing []string `json:"rf_missing,omitempty"`
}

var unknownStatuses = []int{0, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}

func (k JournalKnobs) validate() error {
	var faults []error
	if !slices.Contains(unknownStatuses, k.UnknownStatus) {
		faults = append(faults, fmt.Errorf("sfm.journals.unknown_status %d is none of %v", k.UnknownStatus, unknownStatuses))
	}
	if k.RuleStatus != 0 && (k.RuleStatus < 400 || k.RuleStatus > 499) {
		faults = append(faults, fmt.Errorf("sfm.journals.rule_status %d is not in 400 to 499", k.RuleStatus))
	}
	return errors.Join(faults...)
}
