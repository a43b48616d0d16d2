// Judges deliveries with the reference verifier. In: a file with a JSON array of { secret, headers, body }, the body in
// base64. Out: a JSON array, for each of them what it said, parsed, or null when the verifier refused it.
import { readFileSync } from "node:fs";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const judged = JSON.parse(readFileSync(process.argv[2], "utf8")).map(({ secret, headers, body }) => {
  try {
    return new Webhook(secret).verify(Buffer.from(body, "base64"), headers);
  } catch (error) {
    if (error instanceof WebhookVerificationError) return null;
    throw error;
  }
});
console.log(JSON.stringify(judged));
