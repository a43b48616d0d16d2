// The operators' page: asks the gateway every few seconds what the monitor said, and draws it.

import { Chart } from "./charts.js";
import { at, connection, make } from "./drawing.js";
import { partCards, titleOf } from "./parts.js";
import { Readers } from "./readers.js";
import { beginSession, why } from "./session.js";
import { bytes, clockSecond, count, perMinute, perSecond, seconds } from "./units.js";
import { MARKS, pill, severity, tone } from "./verdicts.js";

const EVERY_MS = 5_000; // as often as the monitor judges
const HISTORY_EVERY_MS = 30_000; // a point in ten seconds is drawn; more often nothing would be seen to change
const OURS = ["streams", "publisher", "relay", "webhooks"];
const MOST_TASKS = 12; // more than one can begin with
const ROUND_SECONDS = [0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400];

const page = {
  signedIn: false,
  timer: undefined,
  heard: undefined, // when the gateway last answered
  answer: undefined,
  historyAt: 0,
};

const readers = new Readers("Readers of this service");
const others = new Readers("Other consumer groups of the cluster");
at("readers").append(readers.element);
at("others-readers").append(others.element);

// Which series a chart draws: those under a prefix, or one alone.
const charts = [
  { chart: new Chart("Lag", seconds, ROUND_SECONDS), prefix: "lag/" },
  { chart: new Chart("From result to screen", seconds, ROUND_SECONDS), prefix: "canary/", order: ["total", "import", "streams", "push", "webhook"] },
  { chart: new Chart("Records waiting", count), prefix: "records/" },
  { chart: new Chart("Events", perSecond), name: "events", label: "arriving" },
  { chart: new Chart("Rejected results", perMinute), name: "rejected", label: "rejected" },
  { chart: new Chart("Open streams", count), name: "connections", label: "open" },
  { chart: new Chart("Memory of Redis", bytes), name: "redis/used_bytes", label: "used" },
];
at("charts").append(...charts.map(({ chart }) => chart.element));

start();

async function start() {
  at("hours").addEventListener("change", () => askHistory());
  // Nobody looks: nothing is asked, and at once when somebody does again.
  document.addEventListener("visibilitychange", () => page.signedIn && !document.hidden && ask());
  setInterval(showConnection, 1_000);
  await beginSession(ask, askForToken);
}

function askForToken(reason) {
  clearTimeout(page.timer);
  page.signedIn = false;
  if (reason) at("signin-why").textContent = `${reason} Paste an operator's token here.`;
  at("signin").hidden = false;
  at("operations").hidden = true;
  showConnection();
}

async function ask() {
  clearTimeout(page.timer);
  const answer = await fetch("/v1/operations").catch(() => undefined);
  if (answer?.status === 401 || answer?.status === 403) {
    // Without any token there is nothing to explain.
    askForToken(page.signedIn || answer.status === 403 ? await why(answer) : undefined);
    return;
  }
  // A session that was there already is one: whoever is let in is signed in, even while Redis is away.
  page.signedIn = true;
  clearTimeout(page.timer);
  page.timer = setTimeout(() => document.hidden || ask(), EVERY_MS);
  if (!answer?.ok) {
    page.answer = undefined;
    if (!at("operations").hidden || answer) showSilence(answer ? await why(answer) : undefined);
    showConnection();
    return;
  }
  page.heard = Date.now();
  page.answer = await answer.json();
  at("signin").hidden = true;
  at("operations").hidden = false;
  draw(page.answer);
  showConnection();
  if (Date.now() - page.historyAt >= HISTORY_EVERY_MS) await askHistory();
}

async function askHistory() {
  page.historyAt = Date.now();
  const hours = at("hours").value;
  const answer = await fetch(`/v1/operations/history?hours=${hours}`).catch(() => undefined);
  if (!answer?.ok || hours !== at("hours").value) return;
  drawHistory(await answer.json());
}

function showConnection() {
  const { answer, heard } = page;
  const age = answer?.age_seconds === null || !answer ? undefined : answer.age_seconds + (Date.now() - heard) / 1_000;
  const [state, words] = !page.signedIn
    ? ["signed-out", "Not signed in"]
    : !answer
      ? ["reconnecting", heard ? "Reconnecting" : "Connecting"]
      : answer.monitored
        ? ["live", "Monitored"]
        : ["standing", "Not monitored"];
  connection(state, words, age === undefined ? "" : `judged ${seconds(Math.round(age))} ago`);
}

function showSilence(reason) {
  at("operations").hidden = false;
  at("signin").hidden = true;
  at("operations").classList.add("old");
  banner("bad", "Cannot tell", reason ?? "The gateway does not answer; what is shown below is how it was.");
}

function draw(answer) {
  const all = [...answer.groups, ...answer.parts];
  at("operations").classList.toggle("old", !answer.monitored);
  drawBanner(answer, all);
  drawTasks(answer, all);
  const place = ({ group }) => (OURS.includes(group) ? OURS.indexOf(group) : OURS.length);
  const groups = [...answer.groups].sort((a, b) => place(a) - place(b) || a.topic.localeCompare(b.topic));
  const ours = groups.filter((group) => OURS.includes(group.group));
  const foreign = groups.filter((group) => !OURS.includes(group.group)).sort((a, b) => severity(b.verdict) - severity(a.verdict) || a.group.localeCompare(b.group));
  readers.update(ours);
  others.update(foreign);
  at("others").hidden = !foreign.length;
  if (foreign.length) at("others-title").textContent = `${count(foreign.length)} other ${foreign.length === 1 ? "group" : "groups"} of the cluster, the worst ${foreign[0].verdict}`;
  at("parts").replaceChildren(...partCards(answer.parts));
}

function drawBanner(answer, all) {
  const names = [...new Set(all.filter((one) => one.alarming).map(nameOf))]; // one reader may read several topics
  if (!answer.monitored) {
    banner("bad", "Nobody monitors", answer.at ? `What is shown below is how it was at ${clockSecond(answer.at)}.` : "Nothing has been judged yet.");
  } else if (names.length) {
    const few = names.length > 4 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");
    banner(tone(answer.worst), names.length === 1 ? "One thing needs attention" : `${names.length} things need attention`, few);
  } else if (answer.worst === "ok") {
    banner("good", "All is well", `${count(new Set(answer.groups.map(nameOf)).size)} readers and ${count(answer.parts.length)} parts are fine.`);
  } else {
    const waiting = [...new Set(all.filter((one) => one.verdict !== "ok").map((one) => `${nameOf(one)}: ${one.verdict}`))];
    banner("quiet", all.length ? "Nothing alarming" : "Nothing to tell yet", waiting.slice(0, 5).join(", "));
  }
  const worst = answer.monitored ? answer.worst : "not monitored";
  document.title = names.length || !answer.monitored ? `⚠ ${worst} – Operations` : "Operations";
}

// Changed only when it says something else: a screen reader reads it out.
function banner(shade, text, more) {
  if (at("banner-text").textContent === text && at("banner-more").textContent === more) return;
  at("banner").dataset.tone = shade;
  at("banner-mark").textContent = MARKS[shade];
  at("banner-text").textContent = text;
  at("banner-more").textContent = more;
}

function drawTasks(answer, all) {
  const told = together(all.filter((one) => one.advice)).sort((a, b) => severity(b.verdict) - severity(a.verdict));
  const tasks = told.slice(0, MOST_TASKS).map((one) => task(answer, one.verdict, nameOf(one), one.advice, one.detail));
  if (answer.advice) tasks.unshift(task(answer, "stop", "Monitor", answer.advice));
  if (told.length > MOST_TASKS) tasks.push(make("li", { class: "quiet", text: `and ${told.length - MOST_TASKS} more in the tables below` }));
  const drawn = tasks.map((one) => one.textContent).join("\n");
  at("attention").hidden = !tasks.length;
  // Left alone while it is the same: somebody may be about to follow a link.
  if (at("tasks").dataset.drawn === drawn) return;
  at("tasks").dataset.drawn = drawn;
  at("tasks").replaceChildren(...tasks);
}

// The same verdict about several topics of a reader is one thing to do.
function together(advised) {
  const found = new Map();
  for (const one of advised) {
    const key = `${nameOf(one)} ${one.verdict}`;
    const before = found.get(key);
    found.set(key, one.topic === undefined ? one : { ...one, detail: before ? `${before.detail}, ${one.topic}` : one.topic });
  }
  return [...found.values()];
}

function task(answer, verdict, name, advice, detail) {
  const place = `#${advice.runbook}`;
  const runbook = answer.runbooks
    ? make("a", { href: answer.runbooks + place, target: "_blank", rel: "noreferrer", text: "Runbook" })
    : make("span", { class: "quiet", text: `docs/operations.md${place}` });
  return make(
    "li",
    { "data-tone": tone(verdict) },
    make("header", {}, make("strong", { text: name }), pill(verdict)),
    make("p", { text: detail ? `${advice.meaning} (${detail})` : advice.meaning }),
    make("p", {}, make("strong", { text: "First: " }), ...code(advice.first), " ", runbook),
  );
}

// What stands between backticks is a command.
function code(text) {
  return text.split("`").map((part, index) => (index % 2 ? make("code", { text: part }) : part));
}

const nameOf = (one) => (one.group === undefined ? titleOf(one.name) : one.group);

function drawHistory({ at: moments, series }) {
  const names = Object.keys(series);
  at("no-history").hidden = names.length > 0;
  for (const { chart, prefix, name, label, order } of charts) {
    const own = prefix ? names.filter((one) => one.startsWith(prefix)) : names.filter((one) => one === name);
    const place = (one) => (order ?? OURS).indexOf(one.slice(prefix.length)) >>> 0; // those not named last
    if (prefix) own.sort((a, b) => place(a) - place(b) || a.localeCompare(b));
    chart.element.hidden = !own.length;
    chart.update(moments, own.map((one) => ({ label: label ?? one.slice(prefix.length), points: series[one] })));
  }
}
