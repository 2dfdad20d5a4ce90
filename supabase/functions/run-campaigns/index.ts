// Calls the campaign runner for a caller who has a secret key of this project, and passes on what it answers.
//
//   supabase secrets set --env-file FILE    with RUNNER_URL and RUNNER_TOKEN
//   supabase functions deploy run-campaigns
//
// RUNNER_TIMEOUT_SECONDS is optional: the platform gives up on a request after 150 seconds, so this gives up before.

const ASKED_WITH = ["Content-Type", "Content-Encoding"];
const ANSWERED_WITH = ["Content-Type", "Cache-Control", "Retry-After", "X-Run-Id", "X-Run-Complete", "X-Dry-Run"];

Deno.serve(async (request: Request): Promise<Response> => {
  if (request.method !== "POST") {
    return problem(405, "Method Not Allowed", "This path takes POST only.", { Allow: "POST" });
  }
  if (!(await hasSecretKey(request))) {
    return problem(401, "Unauthorized", "A secret key of the project is required, in the header apikey.");
  }
  const runner = Deno.env.get("RUNNER_URL");
  const token = Deno.env.get("RUNNER_TOKEN");
  if (!runner || !token || !URL.canParse(runner)) {
    console.error("The secrets RUNNER_URL, a URL, and RUNNER_TOKEN have to be set: supabase secrets set");
    return problem(500, "Internal Server Error", "The Edge Function is not configured; its log says what is missing.");
  }
  const url = new URL(`${runner.replace(/\/+$/, "")}/api/campaigns/run-automation`);
  url.search = new URL(request.url).search; // organization_id and dry_run; the runner refuses other names
  const headers = pick(ASKED_WITH, request.headers);
  headers.set("Authorization", `Bearer ${token}`);
  const timeout = Number(Deno.env.get("RUNNER_TIMEOUT_SECONDS")) || 140;
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers,
      body: await request.arrayBuffer(), // byte for byte: the runner refuses what it does not read
      redirect: "manual", // the token is for this address alone
      signal: AbortSignal.timeout(timeout * 1000),
    });
    return new Response(await answer.text(), {
      status: answer.status,
      headers: pick(ANSWERED_WITH, answer.headers),
    });
  } catch (error) {
    const name = error instanceof Error ? error.name : "unknown";
    console.error(`The runner did not answer (${name}).`);
    if (name === "TimeoutError") {
      return problem(
        504,
        "Gateway Timeout",
        "The runner has not answered in time. Its run may still go on; call again.",
      );
    }
    return problem(502, "Bad Gateway", "The runner cannot be reached. Nothing is lost; call again.");
  }
});

/** Whether the caller has one of the keys that bypass row level security: publishable keys and users have not. */
async function hasSecretKey(request: Request): Promise<boolean> {
  const given = request.headers.get("apikey") ?? request.headers.get("Authorization")?.replace(/^bearer +/i, "");
  if (!given) return false;
  const keys = Object.values(JSON.parse(Deno.env.get("SUPABASE_SECRET_KEYS") || "{}")) as string[];
  keys.push(Deno.env.get("SUPABASE_SERVICE_ROLE_KEY") ?? "");
  const digest = await sha256(given);
  let matches = 0;
  for (const key of keys) {
    const known = await sha256(key);
    const difference = digest.reduce((sum, byte, at) => sum | (byte ^ known[at]), 0);
    if (key && difference === 0) matches++;
  }
  return matches > 0;
}

/** The headers of these names that are there. */
function pick(names: string[], headers: Headers): Headers {
  const picked = new Headers();
  for (const name of names) {
    const value = headers.get(name);
    if (value !== null) picked.set(name, value);
  }
  return picked;
}

async function sha256(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}

function problem(status: number, title: string, detail: string, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify({ type: "about:blank", title, status, detail }), {
    status,
    headers: { "Content-Type": "application/problem+json", "Cache-Control": "no-store", ...headers },
  });
}
