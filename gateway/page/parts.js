// Cards for the parts that read no topic: what they say of themselves, and their figures.

import { make } from "./drawing.js";
import { count, figure, seconds } from "./units.js";
import { pill, severity } from "./verdicts.js";

const NAMES = {
  canary: "Canary",
  clocks: "Clocks",
  endpoints: "Webhook endpoints",
  gateways: "Gateways",
  kafka: "Kafka",
  redis: "Redis",
  rejections: "Rejected results",
};
const ORDER = ["canary", "gateways", "rejections", "endpoints", "redis", "kafka", "clocks"];
const STAGES = ["import", "streams", "push"]; // one after another, from a result sent to a figure seen

export const kindOf = (name) => name.split(":", 1)[0];
export const instanceOf = (name) => name.slice(kindOf(name).length + 1);
export const titleOf = (name) => {
  const kind = NAMES[kindOf(name)] ?? kindOf(name);
  return instanceOf(name) ? `${kind} ${instanceOf(name)}` : kind;
};

// Instances of the same kind share a card.
export function partCards(parts) {
  const kinds = new Map();
  for (const part of parts) kinds.set(kindOf(part.name), [...(kinds.get(kindOf(part.name)) ?? []), part]);
  const place = (kind) => (ORDER.includes(kind) ? ORDER.indexOf(kind) : ORDER.length);
  return [...kinds].sort(([a], [b]) => place(a) - place(b) || a.localeCompare(b)).map(([kind, ofKind]) => card(kind, ofKind));
}

function card(kind, parts) {
  const worst = parts.reduce((a, b) => (severity(b.verdict) > severity(a.verdict) ? b : a));
  const several = parts.length > 1 || instanceOf(worst.name);
  const body = kind === "canary" ? canary(parts[0]) : several ? instances(parts) : figures(parts[0].figures);
  const detail = several ? "" : worst.detail;
  return make(
    "article",
    { class: "part", "data-part": kind },
    make("header", {}, make("h3", { text: NAMES[kind] ?? kind }), pill(worst.verdict)),
    ...(detail ? [make("p", { class: "detail", text: detail })] : []),
    body,
  );
}

function figures(all, form) {
  const rows = Object.entries(all).map(([name, value]) => {
    const { label, text } = figure(name, value, form);
    return make("div", {}, make("dt", { text: label }), make("dd", { text }));
  });
  return make("dl", { class: "facts" }, ...rows);
}

function instances(parts) {
  const total = parts.reduce((sum, part) => sum + (part.figures.connections ?? 0), 0);
  const list = parts.map((part) =>
    make(
      "li",
      {},
      make("span", { text: instanceOf(part.name) || part.name }),
      make("span", { class: "quiet", text: part.detail || (part.figures.connections === undefined ? part.verdict : count(part.figures.connections)) }),
    ),
  );
  const rows = parts.some((part) => part.figures.connections !== undefined) ? [figures({ open_streams: total })] : [];
  return make("div", {}, ...rows, make("ul", { class: "instances" }, ...list));
}

// From a result sent to a figure on a screen: a bar of its stages, and what they took.
function canary({ figures: all }) {
  const stages = STAGES.filter((stage) => all[stage] !== undefined);
  const bar = make("div", { class: "bar thin", "aria-hidden": "true" });
  stages.forEach((stage, index) => {
    const part = make("span", { class: `fill-${index + 1}` });
    part.style.setProperty("flex-grow", String(1_000 * all[stage])); // below 1 in sum they would not fill the bar
    bar.append(part);
  });
  const { lost, ...times } = all;
  const rows = [figures(times, seconds)];
  if (lost !== undefined) rows.push(figures({ lost }));
  return make("div", {}, ...(stages.length ? [bar] : []), ...rows);
}
