// Serves one Postgres database the way PostgREST does. In 0.35 s, where the command line of the same package takes 1 s.
import { createAdaptorServer } from "@hono/node-server";
import { App } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";

import { nameErrors } from "./rest_errors.js";

const { DATABASE_URL, JWT_SECRET, MAX_ROWS, PORT, PUBLISHABLE_KEY, SECRET_KEY } = process.env;

const connection = createPostgresConnection({ url: DATABASE_URL });
// "unknown" would let the first request look whether a table has row-level security, and if so grant everything in the
// schema, and whatever will ever be in it, to anon and authenticated: a hosted project does not. "active" switches the
// role in each request as PostgREST does.
connection.rlsState = "active";
nameErrors(connection);

const app = new App({
  connection,
  api: { enabled: true, schemas: ["public"], max_rows: Number(MAX_ROWS) },
  auth: { enabled: true, jwt_secret: JWT_SECRET, publishable_key: PUBLISHABLE_KEY, secret_key: SECRET_KEY },
  studio: { enabled: false },
  options: { server: { admin: false } }, // else requests without a key run as service_role
});
await app.init();

createAdaptorServer({
  fetch: (request, { incoming }) => app.fetch(request, { peerAddress: incoming.socket.remoteAddress ?? null }),
}).listen(Number(PORT), "127.0.0.1");
