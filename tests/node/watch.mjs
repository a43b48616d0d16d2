// Follows streams with npm's eventsource and prints every event as a line of JSON.
import { EventSource } from "eventsource";

const { token, addresses, events } = JSON.parse(process.env.WATCHED);
const authorized = (address, init) =>
  fetch(address, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } });

addresses.forEach((address, stream) => {
  const source = new EventSource(address, { fetch: authorized });
  const tell = (what, data = "", id = "") =>
    process.stdout.write(`${JSON.stringify({ stream, at: Date.now(), what, data, id })}\n`);
  source.addEventListener("open", () => tell("open"));
  source.addEventListener("error", (event) =>
    tell(source.readyState === EventSource.CLOSED ? "gave up" : "end", `${event.code ?? ""} ${event.message ?? ""}`),
  );
  for (const kind of events) source.addEventListener(kind, ({ data, lastEventId }) => tell(kind, data, lastEventId));
});
