// A small EPJ: logs a person in, reads SFM's tasks, opens an SFM session, sends a
// prescription, logs out. Run it with:
//
//   EPJ_HPR=565501001 EPJ_PARENT=… EPJ_CHILD=… EPJ_JOURNAL=… EPJ_SFM_BASE=… \
//     dotnet run getMedication.json sendMedication.json
//
// The two files are the EPJ's own FHIR bodies.
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text.Json.Nodes;

var epj = new Epj();
await epj.LogIn();
var tasks = 0;
await foreach (var _ in epj.Search("/basis/Task?code=8")) tasks++;
Console.WriteLine($"tasks: {tasks}");
await epj.OpenSfmSession();
await epj.Send(File.ReadAllText(args[0]), File.ReadAllText(args[1]));
await epj.OpenSfmSession(); // before each showing of its page; here it is still open
await epj.LogOut();

sealed class Epj
{
    readonly string sidecar = Env("EPJ_SIDECAR", "http://localhost:8080");
    readonly Uri sfmBase = new(Env("EPJ_SFM_BASE")); // what SFM_UPSTREAMS has for "basis"

    // No AddStandardResilienceHandler, no Polly: those retry by status. No time limit below SFM's own.
    readonly HttpClient http = new(new SocketsHttpHandler { AllowAutoRedirect = false, UseProxy = false })
    {
        Timeout = TimeSpan.FromMinutes(5),
    };

    static string Env(string name, string otherwise = "") => Environment.GetEnvironmentVariable(name) ?? otherwise;

    // begin: call
    /// <summary>An answer that the sidecar itself made, in place of SFM.</summary>
    sealed class Refused(string code, bool retryable, TimeSpan after, JsonNode? problem)
        : Exception($"{code}: {problem?["title"]}. {problem?["detail"]} {problem?["hint"]} ({problem?["request_id"]})")
    {
        public string Code => code;
        public bool Retryable => retryable;
        public TimeSpan After => after;
    }

    string session = ""; // the handle of this person's session: in memory only, never in a log

    /// <summary>One request. What comes back is SFM's answer, whatever its status, or a good one of the sidecar.</summary>
    async Task<HttpResponseMessage> Request(HttpMethod method, string path, string? body = null)
    {
        using var request = new HttpRequestMessage(method, sidecar + path);
        request.Headers.Add("Sfm-Orgnr-Parent", Env("EPJ_PARENT"));
        request.Headers.Add("Sfm-Journal-Id", Env("EPJ_JOURNAL"));
        if (Env("EPJ_CHILD") != "") request.Headers.Add("Sfm-Orgnr-Child", Env("EPJ_CHILD")); // never empty: leave it out
        if (Env("EPJ_KEY") != "") request.Headers.Add("Sidecar-Key", Env("EPJ_KEY"));
        if (session != "") request.Headers.Add("Sfm-Session", session);
        if (body != null)
        {
            request.Content = new StringContent(body);
            request.Content.Headers.ContentType =
                new MediaTypeHeaderValue(path.StartsWith("/basis") ? "application/fhir+json" : "application/json");
        }
        var answer = await http.SendAsync(request);
        if (!answer.Headers.TryGetValues("Sidecar-Error", out var codes)) return answer;
        using (answer)
        {
            var retryable = answer.Headers.TryGetValues("Sidecar-Retryable", out var values) && values.Single() == "true";
            var after = answer.Headers.RetryAfter?.Delta ?? TimeSpan.FromSeconds(1);
            throw new Refused(codes.Single(), retryable, after, JsonNode.Parse(await answer.Content.ReadAsStringAsync()));
        }
    }

    static readonly string[] LogInAgain = ["session-required", "session-unknown", "session-expired", "login-failed"];

    /// <summary>A call to SFM. It is made again only where the sidecar says that nothing was done: never by status.</summary>
    async Task<HttpResponseMessage> Call(HttpMethod method, string path, string? body = null)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return await Request(method, path, body);
            }
            catch (Refused e) when (attempt < 3 && LogInAgain.Contains(e.Code))
            {
                await LogIn();
            }
            catch (Refused e) when (attempt < 3 && e.Retryable)
            {
                await Task.Delay(e.After);
            }
        }
    }
    // end: call

    async Task<JsonNode> Control(HttpMethod method, string path, string? body = null)
    {
        using var answer = await Request(method, path, body);
        return JsonNode.Parse(await answer.Content.ReadAsStringAsync())!;
    }

    // begin: login
    public async Task LogIn()
    {
        session = "";
        var expect = new JsonObject { ["expect"] = new JsonObject { ["hpr_number"] = Env("EPJ_HPR") } }; // who sits at this EPJ
        var begun = await Control(HttpMethod.Post, "/_sidecar/sessions", expect.ToJsonString());
        session = (string)begun["session"]!;
        Console.WriteLine($"log in: {begun["login_url"]}"); // an EPJ opens it in the system browser
        var now = await Control(HttpMethod.Get, "/_sidecar/session");
        while ((string)now["state"]! == "pending") now = await Control(HttpMethod.Get, "/_sidecar/session?wait=30s");
        if ((string)now["state"]! != "active") throw new Exception($"{now["error"]?["title"]}. {now["error"]?["hint"]}");
        Console.WriteLine($"logged in: {now["user"]!["name"]}");
    }
    // end: login

    // begin: next
    /// <summary>All pages of a search. The links inside a Bundle point to SFM; they are followed through the sidecar.</summary>
    public async IAsyncEnumerable<JsonNode?> Search(string? path)
    {
        while (path != null)
        {
            using var answer = await Call(HttpMethod.Get, path);
            answer.EnsureSuccessStatusCode();
            var bundle = JsonNode.Parse(await answer.Content.ReadAsStringAsync())!;
            if (bundle["entry"] is JsonArray entries) foreach (var entry in entries) yield return entry;
            var next = bundle["link"]?.AsArray().FirstOrDefault(link => (string?)link?["relation"] == "next");
            path = next == null ? null : Local((string)next["url"]!);
        }
    }

    /// <summary>The local address of one of SFM's. The scheme is not compared: SFM writes http behind its own TLS.</summary>
    string Local(string address)
    {
        var to = new Uri(sfmBase, address);
        var root = sfmBase.AbsolutePath.TrimEnd('/');
        if (to.Authority != sfmBase.Authority || !to.AbsolutePath.StartsWith(root + "/"))
            throw new Exception("the link leads away from SFM");
        return "/basis" + to.PathAndQuery[root.Length..];
    }
    // end: next

    // begin: session
    /// <summary>Opens an SFM session for SFM's own pages, unless this tenant has one. The sidecar keeps it alive.</summary>
    public async Task OpenSfmSession()
    {
        var now = await Control(HttpMethod.Get, "/_sidecar/session");
        var mine = now["sfm_sessions"]!.AsArray().FirstOrDefault(s =>
            (string?)s?["tenant"]?["parent"] == Env("EPJ_PARENT")
            && string.Equals((string?)s?["tenant"]?["journal"], Env("EPJ_JOURNAL"), StringComparison.OrdinalIgnoreCase));
        if ((string?)mine?["state"] == "open") return;
        var nonce = RandomNumberGenerator.GetBytes(64);
        var body = new JsonObject { ["nonce"] = Convert.ToBase64String(SHA512.HashData(nonce)) };
        using var answer = await Call(HttpMethod.Post, "/session/api/v2/Session/create", body.ToJsonString());
        answer.EnsureSuccessStatusCode();
        var created = JsonNode.Parse(await answer.Content.ReadAsStringAsync())!;
        Console.WriteLine($"SFM session: {created["metadata"]!["patientportal"]}"); // its page takes created["code"] and the nonce
    }
    // end: session

    // begin: send
    /// <summary>Sends prescriptions, once. If anything leaves it open whether SFM did it, SFM is asked, not told again.</summary>
    public async Task Send(string getMedication, string sendMedication)
    {
        try
        {
            using var answer = await Call(HttpMethod.Post, "/basis/Patient/$sendMedication", sendMedication);
            if (answer.IsSuccessStatusCode)
            {
                Console.WriteLine("sent: read each resultCode");
                return;
            }
        }
        catch (Refused e) when (e.Code is "upstream-timeout" or "upstream-outcome-unknown") { }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException) { } // the answer was lost: as unknown
        using var fresh = await Call(HttpMethod.Post, "/basis/Patient/$getMedication", getMedication);
        Console.WriteLine($"not known whether it was sent: compare with $getMedication ({(int)fresh.StatusCode})");
    }
    // end: send

    // begin: logout
    public async Task LogOut()
    {
        var over = await Control(HttpMethod.Delete, "/_sidecar/session");
        session = "";
        Console.WriteLine($"log out: {over["end_session_url"]}"); // an EPJ opens it in the same browser
    }
    // end: logout
}
