// A small EPJ: logs a person in, reads SFM's tasks, opens an SFM session, sends a
// prescription, logs out. Run it with: npm ci && npm run build, then
//
//   EPJ_HPR=565501001 EPJ_PARENT=… EPJ_CHILD=… EPJ_JOURNAL=… EPJ_SFM_BASE=… \
//     node build/epj.js getMedication.json sendMedication.json
//
// The two files are the EPJ's own FHIR bodies.
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const env = (name: string, otherwise = "") => process.env[name] ?? otherwise;
const sidecar = env("EPJ_SIDECAR", "http://localhost:8080");
const sfmBase = new URL(env("EPJ_SFM_BASE")); // what SFM_UPSTREAMS has for "basis"

// begin: call
/** An answer that the sidecar itself made, in place of SFM. */
class Refused extends Error {
  constructor(readonly code: string, readonly retryable: boolean, readonly after: number, problem: any) {
    super(`${code}: ${problem.title}. ${problem.detail ?? ""} ${problem.hint} (${problem.request_id})`);
  }
}

let session = ""; // the handle of this person's session: in memory only, never in a log

/** One request. What comes back is SFM's answer, whatever its status, or a good one of the sidecar. */
async function request(method: string, path: string, body?: string): Promise<Response> {
  const headers: Record<string, string> = {
    "Sfm-Orgnr-Parent": env("EPJ_PARENT"),
    "Sfm-Journal-Id": env("EPJ_JOURNAL"),
  };
  if (env("EPJ_CHILD")) headers["Sfm-Orgnr-Child"] = env("EPJ_CHILD"); // never empty: leave it out
  if (env("EPJ_KEY")) headers["Sidecar-Key"] = env("EPJ_KEY");
  if (session) headers["Sfm-Session"] = session;
  if (body) headers["Content-Type"] = path.startsWith("/basis") ? "application/fhir+json" : "application/json";
  const answer = await fetch(sidecar + path, { method, headers, body, redirect: "manual" });
  const code = answer.headers.get("Sidecar-Error");
  if (!code) return answer;
  throw new Refused(code, answer.headers.get("Sidecar-Retryable") === "true",
    Number(answer.headers.get("Retry-After") ?? 1), await answer.json());
}

const logInAgain = ["session-required", "session-unknown", "session-expired", "login-failed"];

/** A call to SFM. It is made again only where the sidecar says that nothing was done: never by status. */
async function call(method: string, path: string, body?: string): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await request(method, path, body);
    } catch (e) {
      if (!(e instanceof Refused) || attempt === 3) throw e;
      if (logInAgain.includes(e.code)) await logIn();
      else if (e.retryable) await sleep(e.after * 1000);
      else throw e;
    }
  }
}
// end: call

// begin: login
async function logIn(): Promise<void> {
  session = "";
  const expect = { hpr_number: env("EPJ_HPR") }; // who sits at this EPJ
  const begun: any = await (await request("POST", "/_sidecar/sessions", JSON.stringify({ expect }))).json();
  session = begun.session;
  console.log(`log in: ${begun.login_url}`); // an EPJ opens it in the system browser
  let now: any;
  for (let wait = ""; ; wait = "?wait=30s") {
    now = await (await request("GET", "/_sidecar/session" + wait)).json();
    if (now.state !== "pending") break;
  }
  if (now.state !== "active") throw new Error(`${now.error?.title}. ${now.error?.hint}`);
  console.log(`logged in: ${now.user.name}`);
}
// end: login

// begin: next
/** All pages of a search. The links inside a Bundle point to SFM; they are followed through the sidecar. */
async function* search(path: string | undefined): AsyncGenerator<any> {
  while (path) {
    const answer = await call("GET", path);
    if (!answer.ok) throw new Error(`SFM answered ${answer.status}`);
    const bundle: any = await answer.json();
    yield* bundle.entry ?? [];
    const next = bundle.link?.find((link: any) => link.relation === "next");
    path = next && local(next.url);
  }
}

/** The local address of one of SFM's. The scheme is not compared: SFM writes http behind its own TLS. */
function local(address: string): string {
  const to = new URL(address, sfmBase);
  const base = sfmBase.pathname.replace(/\/$/, "");
  if (to.host !== sfmBase.host || !to.pathname.startsWith(base + "/")) throw new Error("the link leads away from SFM");
  return "/basis" + to.pathname.slice(base.length) + to.search;
}
// end: next

// begin: session
/** Opens an SFM session for SFM's own pages, unless this tenant has one. The sidecar keeps it alive. */
async function openSfmSession(): Promise<void> {
  const now: any = await (await request("GET", "/_sidecar/session")).json();
  const mine = now.sfm_sessions.find((s: any) =>
    s.tenant.parent === env("EPJ_PARENT") && s.tenant.journal.toLowerCase() === env("EPJ_JOURNAL").toLowerCase());
  if (mine?.state === "open") return;
  const nonce = randomBytes(64);
  const hash = createHash("sha512").update(nonce).digest("base64");
  const answer = await call("POST", "/session/api/v2/Session/create", JSON.stringify({ nonce: hash }));
  if (!answer.ok) throw new Error(`SFM answered ${answer.status}`);
  const created: any = await answer.json();
  console.log(`SFM session: ${created.metadata.patientportal}`); // its page takes created.code and the nonce
}
// end: session

// begin: send
/** Sends prescriptions, once. If anything leaves it open whether SFM did it, SFM is asked, not told again. */
async function send(): Promise<void> {
  try {
    const answer = await call("POST", "/basis/Patient/$sendMedication", readFileSync(process.argv[3]!, "utf8"));
    if (answer.ok) return console.log("sent: read each resultCode");
  } catch (e) {
    const unknown = ["upstream-timeout", "upstream-outcome-unknown"];
    if (e instanceof Refused && !unknown.includes(e.code)) throw e; // nothing was sent
  }
  const fresh = await call("POST", "/basis/Patient/$getMedication", readFileSync(process.argv[2]!, "utf8"));
  console.log(`not known whether it was sent: compare with $getMedication (${fresh.status})`);
}
// end: send

// begin: logout
async function logOut(): Promise<void> {
  const over: any = await (await request("DELETE", "/_sidecar/session")).json();
  session = "";
  console.log(`log out: ${over.end_session_url}`); // an EPJ opens it in the same browser
}
// end: logout

await logIn();
let tasks = 0;
for await (const _ of search("/basis/Task?code=8")) tasks++;
console.log(`tasks: ${tasks}`);
await openSfmSession();
await send();
await openSfmSession(); // before each showing of its page; here it is still open
await logOut();
