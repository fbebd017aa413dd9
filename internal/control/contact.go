package control

// contact is whom to call.
type contact string

const (
	nobody   contact = "nobody"
	vendor   contact = "vendor"
	operator contact = "operator"
	clinic   contact = "clinic"
	helseID  contact = "helseid"
	sfm      contact = "sfm"
)

var contactNames = map[contact][2]string{
	vendor:   {"leverandøren av journalsystemet", "the supplier of your record system"},
	operator: {"IT-drift (den som har satt opp sidecaren)", "IT operations (whoever set up the sidecar)"},
	clinic:   {"virksomhetens leder eller Altinn-ansvarlige", "the organization's manager, or who handles Altinn there"},
	helseID:  {"Norsk helsenett, HelseID", "Norsk helsenett, HelseID"},
	sfm:      {"Norsk helsenett, brukerstøtte for SFM", "Norsk helsenett, SFM support"},
}

// contactOf is whom to call about a refusal: by its origin, but where somebody
// nearer can mend it.
func contactOf(r Refusal) contact {
	switch r.Code {
	case "login-failed", "person-mismatch", "session-required", "session-unknown", "session-expired", "session-pending", "draining":
		return nobody
	case "tenant-not-delegated", "tenant-terms-unsigned":
		return clinic
	case "tenant-unknown":
		return operator
	case "client-not-approved":
		return vendor
	}
	switch r.Origin {
	case "helseid":
		return helseID
	case "sfm":
		return sfm
	case "sidecar":
		return operator
	}
	return vendor
}

// refusalsInNorwegian say what a refusal means and what to do, to whoever sits at
// the desk. In English the refusal's own title and hint say it.
var refusalsInNorwegian = map[string]text{
	"request-invalid":  {"Kallet er feil bygget opp", "Feilen må rettes i journalsystemet."},
	"caller-key":       {"Nøkkelen til sidecaren mangler eller er feil", "Journalsystemet må settes opp med samme nøkkel som sidecaren."},
	"caller-refused":   {"Denne brukeren på maskinen får ikke kalle", "Kjør journalsystemet som en av brukerne sidecaren er satt opp for."},
	"host-refused":     {"Sidecaren ble kalt med et navn den ikke svarer på", "Bruk localhost eller 127.0.0.1 som adresse i journalsystemet."},
	"origin-refused":   {"En nettside forsøkte å kalle sidecaren", "Bare journalsystemet selv skal kalle. Gjelder det en nettside dere bruker, må den tillates i oppsettet."},
	"control-unknown":  {"Journalsystemet brukte et kall som ikke finnes", "Feilen må rettes i journalsystemet."},
	"upstream-unknown": {"Journalsystemet kalte en SFM-tjeneste som ikke er satt opp", "Sammenlign adressen i journalsystemet med oppsettet av sidecaren."},

	"tenant-missing":        {"Kallet sier ikke hvilken virksomhet det gjelder", "Feilen må rettes i journalsystemet."},
	"tenant-invalid":        {"Organisasjonsnummer eller journal-id er feil skrevet", "Kontroller numrene i journalsystemets oppsett."},
	"tenant-ambiguous":      {"Kallet nevner virksomheten på to måter", "Feilen må rettes i journalsystemet."},
	"tenant-unknown":        {"Virksomheten står ikke i registeret", "Virksomheten må legges inn i registerfilen, eller kallet må rettes."},
	"tenant-not-in-session": {"Innloggingen gjelder ikke denne virksomheten", "Logg inn på nytt for denne virksomheten."},

	"session-required":       {"Ingen er logget inn", "Logg inn fra journalsystemet."},
	"session-unknown":        {"Innloggingen er ukjent", "Logg inn på nytt fra journalsystemet."},
	"session-expired":        {"Innloggingen er utløpt", "Logg inn på nytt fra journalsystemet."},
	"session-pending":        {"Innloggingen er ikke fullført", "Fullfør innloggingen i nettleseren."},
	"login-failed":           {"En innlogging lyktes ikke", "Start innloggingen på nytt fra journalsystemet."},
	"person-mismatch":        {"En annen person enn ventet logget inn", "Logg ut av HelseID i nettleseren, og logg inn på nytt."},
	"handover-refused":       {"HelseID godtok ikke innloggingen som ble overtatt", "Logg inn på nytt fra journalsystemet."},
	"grant-mismatch":         {"Kallet passer ikke til måten sidecaren er satt opp på", "Feilen må rettes i journalsystemet eller i oppsettet."},
	"subject-token-required": {"Kallet mangler personens egen pålogging", "Logg inn på nytt i journalsystemet."},
	"subject-token-invalid":  {"Personens pålogging kan ikke brukes", "Logg inn på nytt i journalsystemet."},

	"tenant-not-delegated":  {"Virksomheten har ikke gitt leverandøren rettigheter i Altinn", "Virksomheten må delegere til leverandøren av journalsystemet i Altinn."},
	"tenant-refused":        {"HelseID godtar ikke organisasjonsnummeret", "Kontroller numrene i Brønnøysundregistrene, og at underenheten hører til hovedenheten."},
	"tenant-terms-unsigned": {"Virksomheten har ikke godtatt bruksvilkårene for SFM", "Vilkårene må godtas hos Norsk helsenett. Logg så inn på nytt."},
	"client-not-approved":   {"HelseID godtar ikke dette systemet", "Klient og nøkkel må kontrolleres i HelseID Selvbetjening."},
	"helseid-refused":       {"HelseID avviste forespørselen", "Oppgi kode og id fra denne siden."},
	"helseid-unavailable":   {"HelseID svarte ikke", "Vent litt og prøv igjen. Ingenting ble sendt til SFM."},
	"clock-skew":            {"Maskinens klokke går mer enn fem minutter feil", "Still klokken, helst automatisk."},
	"token-mismatch":        {"HelseID ga noe annet enn det ble bedt om", "Ingenting ble sendt. Oppgi kode og id fra denne siden."},

	"upstream-unavailable":     {"SFM kunne ikke nås", "Ingenting ble sendt. Prøv igjen."},
	"upstream-outcome-unknown": {"Forbindelsen til SFM brøt under kallet", "SFM kan ha gjort jobben. Hent legemidlene på nytt og sammenlign før noe sendes igjen."},
	"upstream-timeout":         {"SFM svarte ikke i tide", "SFM kan ha gjort jobben. Hent legemidlene på nytt og sammenlign før noe sendes igjen."},
	"resend-needed":            {"Kallet må gjøres på nytt", "SFM gjorde ikke noe. Prøv igjen."},

	"store-unavailable": {"Lageret for innlogginger kan ikke brukes nå", "Vent litt og prøv igjen. Ingenting ble sendt til SFM."},
	"journal-guard":     {"Kallet kunne ha laget en ny, tom journal", "Journalsystemet må si om journalen er ny eller finnes fra før."},
	"limit-reached":     {"For mange kall på en gang", "Vent litt og prøv igjen."},
	"draining":          {"Sidecaren var i ferd med å stoppe", "Prøv igjen når den er oppe."},
	"internal":          {"En feil i sidecaren", "Meld feilen med id fra denne siden; loggen har årsaken."},
}
