// A small EPJ: logs a person in, reads SFM's tasks, opens an SFM session, sends a
// prescription, logs out. Run it with:
//
//   javac -d build Epj.java
//   EPJ_HPR=565501001 EPJ_PARENT=… EPJ_CHILD=… EPJ_JOURNAL=… EPJ_SFM_BASE=… \
//     java -cp build Epj getMedication.json sendMedication.json
//
// The two files are the EPJ's own FHIR bodies. Nothing but the JDK is used, so JSON
// is read by two patterns at the end; an EPJ has its library for that.
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.Base64;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public final class Epj {
    private final String sidecar = env("EPJ_SIDECAR", "http://localhost:8080");
    private final URI sfmBase = URI.create(env("EPJ_SFM_BASE", "")); // what SFM_UPSTREAMS has for "basis"
    private final HttpClient http = HttpClient.newBuilder()
        .version(HttpClient.Version.HTTP_1_1).followRedirects(HttpClient.Redirect.NEVER).build();

    // begin: call
    /** An answer that the sidecar itself made, in place of SFM. */
    static final class Refused extends Exception {
        private static final long serialVersionUID = 1;
        final String code;
        final boolean retryable;
        final long after; // seconds

        Refused(HttpResponse<String> answer) {
            super(answer.headers().firstValue("Sidecar-Error").orElseThrow() + ": " + member(answer.body(), "title") + ". "
                + member(answer.body(), "hint") + " (" + member(answer.body(), "request_id") + ")");
            code = answer.headers().firstValue("Sidecar-Error").orElseThrow();
            retryable = answer.headers().firstValue("Sidecar-Retryable").equals(Optional.of("true"));
            after = answer.headers().firstValueAsLong("Retry-After").orElse(1);
        }
    }

    private String session = ""; // the handle of this person's session: in memory only, never in a log

    /** One request. What comes back is SFM's answer, whatever its status, or a good one of the sidecar. */
    private HttpResponse<String> request(String method, String path, String body)
            throws Refused, IOException, InterruptedException {
        var request = HttpRequest.newBuilder(URI.create(sidecar + path))
            .method(method, body == null ? BodyPublishers.noBody() : BodyPublishers.ofString(body))
            .header("Sfm-Orgnr-Parent", env("EPJ_PARENT", ""))
            .header("Sfm-Journal-Id", env("EPJ_JOURNAL", ""));
        if (!env("EPJ_CHILD", "").isEmpty()) request.header("Sfm-Orgnr-Child", env("EPJ_CHILD", "")); // never empty: leave it out
        if (!env("EPJ_KEY", "").isEmpty()) request.header("Sidecar-Key", env("EPJ_KEY", ""));
        if (!session.isEmpty()) request.header("Sfm-Session", session);
        if (body != null) request.header("Content-Type", path.startsWith("/basis") ? "application/fhir+json" : "application/json");
        var answer = http.send(request.build(), BodyHandlers.ofString());
        if (answer.headers().firstValue("Sidecar-Error").isPresent()) throw new Refused(answer);
        return answer;
    }

    private static final Set<String> NEW_LOG_IN =
        Set.of("session-required", "session-unknown", "session-expired", "login-failed");

    /** A call to SFM. It is made again only where the sidecar says that nothing was done: never by status. */
    private HttpResponse<String> call(String method, String path, String body) throws Exception {
        for (int attempt = 1; ; attempt++) {
            try {
                return request(method, path, body);
            } catch (Refused e) {
                if (attempt == 3) throw e;
                if (NEW_LOG_IN.contains(e.code)) logIn();
                else if (e.retryable) Thread.sleep(e.after * 1000);
                else throw e;
            }
        }
    }
    // end: call

    // begin: login
    private void logIn() throws Exception {
        session = "";
        var expect = "{\"expect\":{\"hpr_number\":\"" + env("EPJ_HPR", "") + "\"}}"; // who sits at this EPJ
        var begun = request("POST", "/_sidecar/sessions", expect).body();
        session = member(begun, "session");
        System.out.println("log in: " + member(begun, "login_url")); // an EPJ opens it in the system browser
        var now = request("GET", "/_sidecar/session", null).body();
        while (member(now, "state").equals("pending")) now = request("GET", "/_sidecar/session?wait=30s", null).body();
        if (!member(now, "state").equals("active")) throw new IOException(member(now, "title") + ". " + member(now, "hint"));
        System.out.println("logged in: " + member(now, "name"));
    }
    // end: login

    // begin: next
    /** All pages of a search. The links inside a Bundle point to SFM; they are followed through the sidecar. */
    private int search(String path) throws Exception {
        int found = 0;
        while (path != null) {
            var answer = call("GET", path, null);
            if (answer.statusCode() != 200) throw new IOException("SFM answered " + answer.statusCode());
            found += occurrences(answer.body(), "fullUrl");
            var next = nextLink(answer.body());
            path = next == null ? null : local(URI.create(next));
        }
        return found;
    }

    /** The local address of one of SFM's. The scheme is not compared: SFM writes http behind its own TLS. */
    private String local(URI address) throws IOException {
        var to = sfmBase.resolve(address);
        var base = sfmBase.getRawPath().replaceAll("/$", "");
        if (!to.getRawAuthority().equalsIgnoreCase(sfmBase.getRawAuthority()) || !to.getRawPath().startsWith(base + "/")) {
            throw new IOException("the link leads away from SFM");
        }
        return "/basis" + to.getRawPath().substring(base.length()) + (to.getRawQuery() == null ? "" : "?" + to.getRawQuery());
    }
    // end: next

    // begin: session
    /** Opens an SFM session for SFM's own pages, unless this tenant has one. The sidecar keeps it alive. */
    private void openSfmSession() throws Exception {
        var now = request("GET", "/_sidecar/session", null).body();
        var mine = "\"parent\":\"" + env("EPJ_PARENT", "") + "\"[^}]*},\"state\":\"open\""; // a tenant of sfm_sessions, and its state
        if (Pattern.compile(mine).matcher(now).find()) return;
        var nonce = new byte[64];
        new SecureRandom().nextBytes(nonce);
        var hash = Base64.getEncoder().encodeToString(MessageDigest.getInstance("SHA-512").digest(nonce));
        var answer = call("POST", "/session/api/v2/Session/create", "{\"nonce\":\"" + hash + "\"}");
        if (answer.statusCode() != 200) throw new IOException("SFM answered " + answer.statusCode());
        System.out.println("SFM session: " + member(answer.body(), "patientportal")); // its page takes the member code and the nonce
    }
    // end: session

    // begin: send
    /** Sends prescriptions, once. If anything leaves it open whether SFM did it, SFM is asked, not told again. */
    private void send(String getMedication, String sendMedication) throws Exception {
        try {
            if (call("POST", "/basis/Patient/$sendMedication", sendMedication).statusCode() == 200) {
                System.out.println("sent: read each resultCode");
                return;
            }
        } catch (Refused e) {
            if (!List.of("upstream-timeout", "upstream-outcome-unknown").contains(e.code)) throw e; // nothing was sent
        } catch (IOException e) {
            // The answer was lost on the way from the sidecar: as unknown as the two above.
        }
        var fresh = call("POST", "/basis/Patient/$getMedication", getMedication);
        System.out.println("not known whether it was sent: compare with $getMedication (" + fresh.statusCode() + ")");
    }
    // end: send

    // begin: logout
    private void logOut() throws Exception {
        var over = request("DELETE", "/_sidecar/session", null).body();
        session = "";
        System.out.println("log out: " + member(over, "end_session_url")); // an EPJ opens it in the same browser
    }
    // end: logout

    public static void main(String[] args) throws Exception {
        var epj = new Epj();
        epj.logIn();
        System.out.println("tasks: " + epj.search("/basis/Task?code=8"));
        epj.openSfmSession();
        epj.send(Files.readString(Path.of(args[0])), Files.readString(Path.of(args[1])));
        epj.openSfmSession(); // before each showing of its page; here it is still open
        epj.logOut();
    }

    private static String env(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }

    /** The first text of that name, "" if there is none. */
    private static String member(String json, String name) {
        Matcher m = Pattern.compile("\"" + name + "\"\\s*:\\s*\"((?:[^\"\\\\]|\\\\.)*)\"").matcher(json);
        return m.find() ? m.group(1).replace("\\u0026", "&").replace("\\/", "/") : "";
    }

    private static int occurrences(String json, String name) {
        return (int) Pattern.compile("\"" + name + "\"\\s*:").matcher(json).results().count();
    }

    /** A Bundle's next link, null on the last page. */
    private static String nextLink(String bundle) {
        Matcher m = Pattern.compile("\\{[^{}]*\"relation\"\\s*:\\s*\"next\"[^{}]*}").matcher(bundle);
        return m.find() ? member(m.group(), "url") : null;
    }
}
