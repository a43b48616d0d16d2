// Signs in, follows the stream of one school and its district, and keeps the page up to date.

import { Card, HELD_BACK, TestTable, at, connection, heldBack, make, number, score, time } from "./drawing.js";
import { Picker } from "./picker.js";
import { Results, gradeName } from "./results.js";
import { beginSession, why } from "./session.js";

const SILENCE_MS = 20_000; // progress comes every few seconds; after so long without, the figures stand still
const SPOKEN_EVERY_MS = 5_000; // a screen reader must be able to finish a sentence
const LOG_LINES = 12;

const districtOf = (school) => `${school.slice(0, 7)}0000000`;

const page = {
  results: new Results(),
  names: new Map(), // organization id -> name, of those that may be seen
  source: undefined,
  columns: [], // [{id, label, card}]
  tables: [],
  layout: "", // which tests and grades the tables show
  year: undefined,
  key: undefined, // the chosen cell
  last: 0, // when the stream last gave a sign
  state: "connecting",
  complete: undefined,
  spoken: 0,
};

const picker = new Picker(at("school"), at("school-list"), (school) => watch(school));

start();

async function start() {
  at("year").addEventListener("change", () => {
    page.year = Number(at("year").value);
    page.key = undefined;
    draw(false);
  });
  setInterval(showConnection, 1_000);
  await beginSession(open, askForToken);
}

function askForToken(reason) {
  page.source?.close();
  if (reason) at("signin-why").textContent = `${reason} Open the link that you were given, or paste a new token here.`;
  at("signin").hidden = false;
  at("results").hidden = true;
  setState("signed-out");
}

async function open() {
  const answer = await fetch("/v1/organizations").catch(() => undefined);
  if (answer?.status === 401) {
    askForToken();
    return;
  }
  if (!answer?.ok) {
    setState("reconnecting");
    setTimeout(open, 3_000);
    return;
  }
  const { organizations } = await answer.json();
  page.names = new Map(organizations.map(({ id, name }) => [id, name]));
  picker.fill(organizations.filter(({ level }) => level === "school"), page.names);
  at("signin").hidden = true;
  at("results").hidden = false;
  const asked = new URLSearchParams(location.hash.slice(1)).get("school") ?? new URLSearchParams(location.search).get("school");
  const school = picker.find(asked) ?? picker.first();
  if (school) {
    picker.choose(school);
    watch(school);
  } else {
    showEmpty("This token opens no school. Ask for a grant at your district or school.");
    setState("signed-out");
  }
}

function watch(school) {
  const address = new URL(location.href);
  if (address.searchParams.get("school") !== school.id) {
    address.searchParams.set("school", school.id);
    address.hash = "";
    history.replaceState(null, "", address);
  }
  document.title = `${school.name} – live preliminary results`;
  const district = districtOf(school.id);
  page.columns = [{ id: school.id, label: "School", card: new Card("School") }];
  if (page.names.has(district)) page.columns.push({ id: district, label: "District", card: new Card("District") });
  page.results = new Results();
  page.layout = "";
  at("cards").replaceChildren(...page.columns.map(({ card }) => card.element));
  at("tables").replaceChildren();
  at("log").replaceChildren(make("li", { class: "quiet", text: "None since this page was opened." }));
  at("cards").classList.add("waiting");
  follow();
}

function follow() {
  page.source?.close();
  const topics = page.columns.map(({ id, label }) => `topic=${label.toLowerCase()}/${id}`).join("&");
  const source = new EventSource(`/v1/stream?${topics}`);
  page.source = source;
  setState("connecting");
  const on = (kind, handle) =>
    source.addEventListener(kind, (event) => {
      page.last = Date.now();
      const message = JSON.parse(event.data);
      if (kind !== "bye") showStale(message.stale === true);
      handle(message);
    });
  on("put", (message) => {
    page.results.put(message);
    at("cards").classList.remove("waiting");
    setState("live");
    draw(false);
  });
  on("patch", (message) => {
    const changes = page.results.patch(message);
    setState("live");
    if (!changes.length) return;
    draw(true);
    log(changes);
  });
  on("progress", (message) => {
    page.complete = message.stale ? undefined : (message.complete ?? page.complete);
    setState(message.live ? "live" : "standing");
  });
  on("bye", (message) => {
    if (!message.reconnect) {
      source.close();
      const ends = { revoked: "Your access has been withdrawn.", forbidden: "You may no longer see these results." };
      askForToken(ends[message.reason] ?? "Your session has ended.");
    }
  });
  source.onerror = async () => {
    if (source.readyState !== EventSource.CLOSED) {
      setState("reconnecting");
      return;
    }
    // The browser has given up: refused, or a proxy answered in the gateway's place.
    const answer = await fetch("/v1/session").catch(() => undefined);
    if (page.source !== source) return;
    if (answer?.status === 401) askForToken(await why(answer));
    else {
      setState("reconnecting");
      setTimeout(() => page.source === source && follow(), 3_000 + 4_000 * Math.random());
    }
  };
}

function setState(state) {
  page.state = state;
  showConnection();
}

function showConnection() {
  const silent = page.state === "live" && Date.now() - page.last > SILENCE_MS;
  const state = silent ? "standing" : page.state;
  const words = {
    connecting: "Connecting",
    live: "Live",
    standing: "Not updating",
    reconnecting: "Reconnecting",
    "signed-out": "Not signed in",
  };
  connection(state, words[state], page.complete && state !== "signed-out" ? `complete as of ${time(page.complete)}` : "");
}

// The latest of put, patch and progress says whether older results are still missing.
function showStale(stale) {
  at("stale").hidden = !stale;
}

function draw(flash) {
  const ids = page.columns.map(({ id }) => id);
  const years = page.results.years(ids);
  if (!years.includes(page.year)) page.year = years[0];
  drawYears(years);
  const tests = page.results.tests(ids, page.year);
  const keys = tests.flatMap(({ grades }) => grades.map(({ key }) => key));
  // The school's own first test, before one that only its district gives.
  if (!keys.includes(page.key)) page.key = keys.find((key) => page.results.cell(ids[0], key)) ?? keys[0];
  drawTables(tests, keys);
  for (const table of page.tables) {
    table.choose(page.key);
    for (const key of table.keys) table.update(key, ids.map((id) => page.results.cell(id, key)), flash);
  }
  at("overview").hidden = at("cards").hidden = at("chosen").hidden = keys.length === 0;
  at("empty").hidden = keys.length > 0;
  if (!keys.length) {
    showEmpty(`${page.results.name(ids[0])} has no results to show yet. They appear here as soon as there are some that you may see.`);
    return;
  }
  drawChosen(tests, flash);
}

function drawYears(years) {
  const select = at("year");
  const wanted = years.map(String).join();
  if (select.dataset.years !== wanted) {
    select.dataset.years = wanted;
    select.replaceChildren(...years.map((year) => make("option", { value: year, text: `${year - 1}–${String(year).slice(2)}` })));
  }
  if (page.year !== undefined) select.value = String(page.year);
  select.disabled = years.length < 2;
}

function drawTables(tests, keys) {
  const layout = `${page.columns.length} ${keys.join()}`;
  if (layout === page.layout) return;
  page.layout = layout;
  const labels = page.columns.map(({ label }) => label);
  page.tables = tests.map((test) => new TestTable(test, labels, choose));
  at("tables").replaceChildren(...page.tables.map(({ element }) => element));
}

function choose(key) {
  page.key = key;
  draw(false);
  at("chosen").scrollIntoView({ block: "nearest" });
}

function drawChosen(tests, flash) {
  const test = tests.find(({ grades }) => grades.some(({ key }) => key === page.key));
  const { grade } = test.grades.find(({ key }) => key === page.key);
  at("chosen").textContent = `${test.name}, ${gradeName(grade)}`;
  const cells = page.columns.map(({ id, card }) => {
    const cell = page.results.cell(id, page.key);
    card.update(page.names.get(id) ?? page.results.name(id), cell, flash);
    return cell;
  });
  speak(cells[0]);
}

// At most one sentence every few seconds, and always the latest.
function speak(cell) {
  const due = page.spoken + SPOKEN_EVERY_MS - Date.now();
  if (due > 0) {
    clearTimeout(page.speaking);
    page.speaking = setTimeout(() => speak(page.results.cell(page.columns[0].id, page.key)), due);
    return;
  }
  page.spoken = Date.now();
  at("spoken").textContent = cell
    ? cell.suppressed
      ? `${at("chosen").textContent}: ${HELD_BACK}`
      : `${at("chosen").textContent}: ${number(cell.with_scores)} students with scores, mean ${score(cell.mean)}, preliminary.`
    : `${at("chosen").textContent}: no results yet.`;
}

function log(changes) {
  const list = at("log");
  list.querySelector(".quiet")?.remove();
  for (const { id, before, after } of changes) {
    if (id !== page.columns[0].id) continue; // the district changes with every school; its figures show it
    list.prepend(
      make(
        "li",
        {},
        make("time", { text: time(after.changed), datetime: after.changed }),
        make("span", { class: "what", text: `${after.test_name}, ${gradeName(after.grade)}` }),
        make("span", { text: difference("with scores", before ? heldBack(before, number(before.with_scores)) : "0", heldBack(after, number(after.with_scores))) }),
        make("span", { text: difference("mean", heldBack(before, score(before?.mean)), heldBack(after, score(after.mean))) }),
      ),
    );
  }
  while (list.children.length > LOG_LINES) list.lastChild.remove();
}

function difference(label, before, after) {
  return before === after ? `${label} ${after}` : `${label} ${before} → ${after}`;
}

function showEmpty(text) {
  at("empty").textContent = text;
  at("empty").hidden = false;
}
