// Signing in: a token moves from the address or a form into a cookie that no script can read.

import { at } from "./drawing.js";

// Opens the page with the token of its address, or with the session that there may be, and again whenever somebody signs in.
// `open` goes on with the session, `askForToken` says why there is none.
export async function beginSession(open, askForToken) {
  const signIn = async (token) => {
    const refused = await keepToken(token);
    if (refused) {
      askForToken(refused);
      return;
    }
    at("token").value = "";
    await open();
  };
  at("signin-form").addEventListener("submit", (event) => {
    event.preventDefault();
    signIn(at("token").value.trim());
  });
  // A new link in the same tab changes nothing but the fragment, and loads nothing.
  addEventListener("hashchange", async () => {
    const token = takeToken();
    if (token) await signIn(token);
  });
  const token = takeToken();
  await (token ? signIn(token) : open());
}

// The token is in the fragment, which no server ever sees, and leaves the address bar at once.
function takeToken() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get("token");
  if (!token) return undefined;
  fragment.delete("token");
  history.replaceState(null, "", location.pathname + location.search + (fragment.size ? `#${fragment}` : ""));
  return token;
}

// Returns why the gateway does not take it; undefined when it does.
async function keepToken(token) {
  const answer = await fetch("/v1/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } }).catch(() => undefined);
  if (answer?.ok) return undefined;
  return (answer ? await why(answer) : undefined) ?? "The gateway does not answer.";
}

// What a refusal says of itself.
export async function why(answer) {
  return (await answer.json().catch(() => ({}))).detail;
}
