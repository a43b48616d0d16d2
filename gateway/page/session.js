// Signing in: a token moves from the address or a form into a cookie that no script can read.

// The token is in the fragment, which no server ever sees, and leaves the address bar at once.
export function takeToken() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get("token");
  if (!token) return undefined;
  fragment.delete("token");
  history.replaceState(null, "", location.pathname + location.search + (fragment.size ? `#${fragment}` : ""));
  return token;
}

// Returns why the gateway does not take it; undefined when it does.
export async function keepToken(token) {
  const answer = await fetch("/v1/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } }).catch(() => undefined);
  if (answer?.ok) return undefined;
  return (answer ? await why(answer) : undefined) ?? "The gateway does not answer.";
}

// What a refusal says of itself.
export async function why(answer) {
  return (await answer.json().catch(() => ({}))).detail;
}
