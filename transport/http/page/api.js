// Requests to the server this page came from, and the token that allows changes. Owns nothing that is shown.

const KEY = "workerhost.token";

let token = sessionStorage.getItem(KEY) ?? "";

/** Take the token from behind the # of the address, where no server sees it, and out of the address bar; whether there was one. */
export function takeToken() {
  const found = /^#([\w-]{16,})$/.exec(location.hash);
  if (!found) return false;
  token = found[1];
  sessionStorage.setItem(KEY, token);
  history.replaceState(null, "", "#/");
  return true;
}

export const headers = () => (token ? { Authorization: `Bearer ${token}` } : {});

/** Whether the token that is held, if any, allows changes. */
export async function isAllowed() {
  if (!token) return false;
  const answer = await fetch("/api/token", { headers: headers() });
  return answer.ok;
}

/** The document at a path below /api. Raises an Error that says what the problem was. */
export async function get(path) {
  return read(await fetch(`/api${path}`, { headers: headers() }));
}

/** Order something. */
export async function post(path, body = {}) {
  const all = { ...headers(), "Content-Type": "application/json" };
  return read(await fetch(`/api${path}`, { method: "POST", headers: all, body: JSON.stringify(body) }));
}

const LONG = /\d{16}/; // digits that may be more than a number of this language holds

/** What a text of JSON says. An integer that no number here is stays as it was written, for whoever writes it again. */
function parsed(written) {
  if (!JSON.rawJSON || !LONG.test(written)) return JSON.parse(written);
  return JSON.parse(written, (_, value, { source } = {}) => {
    const changed = Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(source);
    return changed ? JSON.rawJSON(source) : value;
  });
}

async function read(answer) {
  const document = await answer.text().then(parsed).catch(() => ({}));
  if (answer.ok) return document;
  const error = new Error(document.detail ?? `${answer.status} ${answer.statusText}`);
  error.status = answer.status;
  throw error;
}
