// Receive webhooks of preliminary results: copy this file, put your own work into `handle`, and TLS in front of it.
//
//     WEBHOOK_SECRETS='whsec_...' node webhook_receiver.mjs --port 8080 --journal webhooks.jsonl
//
// Needs Node.js 20 or newer and nothing else. A delivery is taken only when its signature and its time are right; once,
// however often it comes; and of each figure only what is later than what is known. docs/webhooks.md says the rest.

import { createHmac, createPublicKey, timingSafeEqual, verify as signatureFits } from "node:crypto";
import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { parseArgs } from "node:util";

const TOLERANCE_SECONDS = 300; // a copy that somebody recorded is worth nothing after that; keep your clock right
const LARGEST_BODY = 4 * 1024 * 1024;
const IDLE_MS = 60_000; // a sender that falls silent does not hold a connection for longer
const REMEMBERED_SECONDS = 30 * 86_400; // a delivery is tried for four days, and can be asked for again for thirty

/**
 * Your own work. When it throws, the delivery counts as failed and comes again: it has to bear that.
 *
 * The sender waits 15 seconds for the answer: what takes longer belongs into a queue of your own.
 *
 * `event` is the whole body; its `type` says what it is about, and there may be types that you do not know. `cells` are
 * those of an `aggregate.updated` that are later than what came before. Unless you asked for full payloads, ask
 * `event.data.link` for their figures, with your access token.
 */
async function handle(event, cells) {
  console.log(JSON.stringify({ type: event.type, cells: cells.length, event }));
}

class Refused extends Error {}

/**
 * The delivery's id, when one of the secrets signed exactly this body, and did so just now.
 *
 * `secrets` are several during a rotation: the old and the new one. `body` is the Buffer as it came: parsed and printed
 * again, the bytes would be others.
 */
function verify(secrets, headers, body, nowSeconds) {
  const { "webhook-id": id = "", "webhook-timestamp": timestamp = "", "webhook-signature": signatures = "" } = headers;
  if (!id || id.includes(".")) throw new Refused("no webhook-id");
  if (!/^\d{1,12}$/.test(timestamp)) throw new Refused("no webhook-timestamp");
  if (Math.abs(nowSeconds - Number(timestamp)) > TOLERANCE_SECONDS) throw new Refused("its time is too far from now");
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`, "latin1"), body]);
  for (const entry of signatures.split(" ")) {
    const comma = entry.indexOf(",");
    const signature = Buffer.from(entry.slice(comma + 1), "base64");
    if (secrets.some((secret) => fits(secret, entry.slice(0, comma), signature, signed))) return id;
  }
  throw new Refused("no signature fits");
}

function fits(secret, version, signature, signed) {
  if (version !== secret.version) return false;
  if (version === "v1a") return signature.length === 64 && signatureFits(null, signed, secret.key, signature);
  const expected = createHmac("sha256", secret.key).update(signed).digest();
  return signature.length === expected.length && timingSafeEqual(signature, expected); // other than ===, in constant time
}

/** `whsec_...` (shared with the sender) or `whpk_...` (the sender's public key). */
function readSecret(text) {
  const [, prefix, base64] = /^(whsec|whpk)_([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? [];
  if (prefix === "whsec") return { version: "v1", key: Buffer.from(base64, "base64") };
  if (prefix !== "whpk") throw new Error("one of them is no secret");
  const x = Buffer.from(base64, "base64").toString("base64url");
  return { version: "v1a", key: createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" }) };
}

/** What was received already; in a file, so that a restart forgets nothing. A database of yours does as well. */
class Inbox {
  #path;
  #deliveries = new Map(); // id -> when
  #cells = new Map(); // name -> { version, changed }
  #last = Promise.resolve();

  constructor(path) {
    this.#path = path;
    const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n") : [];
    for (const line of lines) {
      try {
        this.#remember(JSON.parse(line));
      } catch {
        continue; // the last line of a process that was killed while it wrote
      }
    }
    const oldest = Date.now() / 1000 - REMEMBERED_SECONDS;
    for (const [id, at] of this.#deliveries) if (at < oldest) this.#deliveries.delete(id);
    const cells = [...this.#cells].map(([name, { version, changed }]) => [name, version, changed]);
    const kept = [{ cells }, ...[...this.#deliveries].map(([id, at]) => ({ id, at }))];
    writeFileSync(`${path}.new`, kept.map((one) => `${JSON.stringify(one)}\n`).join(""));
    renameSync(`${path}.new`, path);
  }

  /** Handle a delivery that was verified, unless it was handled before; one after the other, also when two come at once. */
  take(id, event, nowSeconds) {
    const taken = this.#last.then(async () => {
      if (this.#deliveries.has(id)) return;
      const later = cellsOf(event).filter(([name, cell]) => this.#isLater(name, cell));
      await handle(event, later.map(([, cell]) => cell));
      const cells = later.map(([name, { version, changed }]) => [name, version, changed]);
      const entry = { id, at: nowSeconds, cells };
      appendFileSync(this.#path, `${JSON.stringify(entry)}\n`, { flush: true });
      this.#remember(entry);
    });
    this.#last = taken.catch(() => {});
    return taken;
  }

  // Deliveries may overtake each other. Versions grow; where tables were built anew they may begin again, and then the
  // time is later.
  #isLater(name, { version, changed }) {
    const known = this.#cells.get(name);
    return !known || version > known.version || changed > known.changed;
  }

  #remember({ id, at, cells = [] }) {
    if (id) this.#deliveries.set(id, at);
    for (const [name, version, changed] of cells) this.#cells.set(name, { version, changed });
  }
}

/** Each cell of the body with a name that no other cell has. */
function cellsOf({ type, data }) {
  if (type !== "aggregate.updated") return [];
  const { organization, cells } = data;
  return cells.map((cell) => [[organization.id, cell.school_year, cell.test, cell.grade].join(" "), cell]);
}

async function read(request) {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > LARGEST_BODY) return null;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

async function answer(secrets, inbox, request) {
  if (request.method !== "POST") return [405];
  const body = await read(request);
  if (body === null) return [413, { connection: "close" }];
  const now = Date.now() / 1000;
  let id, event;
  try {
    id = verify(secrets, request.headers, body, now);
    event = JSON.parse(body.toString("utf8"));
  } catch (error) {
    console.error(`refused: ${error.message}`);
    return [401];
  }
  // "Do you want these webhooks?" Only who reads what arrives at this address can give this answer.
  const confirmation = event.type === "endpoint.ping" && event.data.confirmation;
  if (confirmation) return [204, { "webhook-confirmation": confirmation }];
  await inbox.take(id, event, now);
  return [204];
}

const { values: options } = parseArgs({
  options: {
    host: { type: "string", default: "127.0.0.1" }, // where your proxy, which does TLS, finds it
    port: { type: "string", default: "8080" },
    journal: { type: "string", default: "webhooks.jsonl" }, // a file; it is made
  },
});
let secrets;
try {
  secrets = (process.env.WEBHOOK_SECRETS ?? "").split(" ").map(readSecret);
} catch (error) {
  console.error(`WEBHOOK_SECRETS is to be whsec_... or whpk_..., several with a space between: ${error.message}`);
  process.exit(1);
}
const inbox = new Inbox(options.journal);
const server = createServer({ requestTimeout: IDLE_MS }, async (request, response) => {
  const [status, headers = {}] = await answer(secrets, inbox, request).catch((error) => {
    console.error(`failed: ${error.message}`); // whatever it is: any answer but 2xx brings the delivery again
    return [500];
  });
  response.writeHead(status, headers).end();
});
server.listen(Number(options.port), options.host, () =>
  console.log(`listening on http://${options.host}:${server.address().port}`),
);
