// PostgREST names every database error by its SQLSTATE. @supabase/lite answers 500 and the code "SUP" to those that it
// does not know: timeouts, deadlocks, lost connections, codes of one's own. This makes PostgREST's answer of them.

const KNOWN = /^(21|22|42|53|55|PT|PGRST)|^(23502|23503|23505|25006)/;
const LOST = /^(57P0[123]|08...|CONNECTION_\w+|CONNECT_TIMEOUT|ECONN\w+)$/;

// https://postgrest.org/en/stable/references/errors.html#status-codes
const STATUS = [
  [/^(0L|0P|28)/, 403],
  [/^P0001/, 400],
  [/^(09|25|2D|38|39|3B|40|54|57|58|F0|HV|P0|XX)/, 500],
];

export function nameErrors(connection) {
  const normalize = connection.normalizeDbError.bind(connection);
  connection.normalizeDbError = (error) => {
    const normal = normalize(error);
    const code = normal?.code;
    if (typeof code !== "string" || KNOWN.test(code)) return normal;
    if (LOST.test(code)) return answer(503, "PGRST001", "Database client error. Retrying the connection.", normal.message, null);
    if (!/^[0-9A-Z]{5}$/.test(code)) return normal;
    const status = STATUS.find(([codes]) => codes.test(code))?.[1] ?? 400;
    return answer(status, code, normal.message, normal.detail ?? null, normal.hint ?? null);
  };
}

// What lite takes for `raise sqlstate 'PGRST'`, with which a function writes its own answer.
function answer(status, code, message, details, hint) {
  return Object.assign(new Error(JSON.stringify({ code, message, details, hint })), {
    code: "PGRST",
    detail: JSON.stringify({ status, headers: {} }),
  });
}
