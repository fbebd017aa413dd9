package journal

// Create is what an EPJ is about to write with POST Organization, and what is known around it.
type Create struct {
	Ask     Ask    // the token that the call is made with
	Profile string // meta.profile of the resource
	SFMID   string // Identifier[SFM-id]
	Orgnr   string // Identifier[ENH]
	HERID   string // Identifier[HER-id]; may be empty
	PartOf  string // the organization number that partOf leads to; may be empty
	Active  bool
	New     bool // a new journal is meant, otherwise one that exists
	Guard   int  // HTTP status of GET Organization with the same token before the call; 0 = was not asked
}

// Profile is the profile of every sfm-Organization.
const Profile = "http://ehelse.no/fhir/StructureDefinition/sfm-Organization"

// CheckCreate judges the making of an organization by the rules C1 to C4, H2 and J7, with what the Set knows of SFM.
func CheckCreate(s *Set, c Create) []Finding { return nil }

// Passive is an organization that an EPJ is about to set passive.
type Passive struct {
	Journal string
	Orgnr   string
}

// CheckPassive judges setting an organization passive by rule C7, and says when an Aktør would leave RF.
func CheckPassive(s *Set, p Passive) []Finding { return nil }

// Person is the identity of an sfm-Person. The values never leave the check.
type Person struct {
	FNR string // national identity number
	DNR string // d-number
}

// CheckPerson judges an sfm-Person by rule C5. The findings hold no number.
func CheckPerson(p Person) []Finding { return nil }

// EPJInfo is the epjinfo extension of an sfm-Organization, which RF shows as the system behind an Aktør.
type EPJInfo struct {
	SystemCode string // issued by Norsk helsenett; letter case matters
	Version    string
}

// CheckEPJInfo judges what is written by what runs, by rule C6.
func CheckEPJInfo(written, running EPJInfo) []Finding { return nil }
