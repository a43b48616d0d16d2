// Lines over time, as SVG. A chart is drawn at the size that it has on the screen, so its text is never scaled.

import { make } from "./drawing.js";
import { clockMinute, clockSecond } from "./units.js";

const HEIGHT = 168;
const MARGIN = { top: 10, right: 10, bottom: 24, left: 62 };
const MOST_LINES = 6; // as many as there are colours that can be told apart
const LABEL_EVERY = 84; // pixels
const STEPS_MINUTES = [5, 10, 15, 30, 60, 120];

function draw(tag, attributes = {}, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// The next round number at or above the largest value: 1, 2, 5, 10 and so on; time has round numbers of its own.
function ceiling(value, rounds) {
  if (!(value > 0)) return rounds?.[0] ?? 1;
  const round = rounds?.find((one) => one >= value);
  if (round) return round;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((one) => one >= value * 0.999999);
}

export class Chart {
  #series = { at: [], lines: [] };
  #cursor; // index of a step; undefined: the latest
  #width = 0;

  // form: how a value is written; rounds: round numbers for the top of the scale.
  constructor(title, form, rounds) {
    this.title = title;
    this.form = form;
    this.rounds = rounds;
    this.moment = make("span", { class: "moment" });
    this.legend = make("div", { class: "chart-legend" });
    this.drawing = draw("svg", { role: "img", tabindex: "0", height: String(HEIGHT) });
    this.element = make(
      "figure",
      { class: "chart" },
      make("figcaption", {}, make("h3", { text: title }), this.moment),
      this.drawing,
      this.legend,
    );
    new ResizeObserver(() => this.#fit()).observe(this.element);
    this.drawing.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    this.drawing.addEventListener("pointerleave", () => this.#move(undefined));
    this.drawing.addEventListener("blur", () => this.#move(undefined));
    this.drawing.addEventListener("keydown", (event) => this.#key(event));
  }

  // lines: [{label, points}], a point for each of at; null where nothing is known.
  update(at, lines) {
    const top = ({ points }) => points.reduce((most, value) => Math.max(most, value ?? 0), 0);
    const shown = lines.length <= MOST_LINES ? lines : [...lines].sort((a, b) => top(b) - top(a)).slice(0, MOST_LINES);
    this.#series = { at, lines: shown, more: lines.length - shown.length, top: Math.max(0, ...shown.map(top)) };
    if (this.#cursor >= at.length) this.#cursor = undefined;
    this.#draw();
  }

  #fit() {
    const width = Math.floor(this.drawing.getBoundingClientRect().width);
    if (width !== this.#width) {
      this.#width = width;
      this.#draw();
    }
  }

  #x(index) {
    const inner = this.#width - MARGIN.left - MARGIN.right;
    return MARGIN.left + (inner * index) / Math.max(1, this.#series.at.length - 1);
  }

  #draw() {
    const { at, lines, top } = this.#series;
    if (this.#width < 120 || !at.length) return;
    const most = ceiling(top, this.rounds);
    const y = (value) => MARGIN.top + (HEIGHT - MARGIN.top - MARGIN.bottom) * (1 - value / most);
    const parts = [];
    for (const value of [0, most / 2, most]) {
      parts.push(
        draw("line", { class: "grid", x1: MARGIN.left, x2: this.#width - MARGIN.right, y1: y(value), y2: y(value) }),
        draw("text", { class: "scale", x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, this.form(value)),
      );
    }
    for (const index of this.#labelled()) {
      parts.push(draw("text", { class: "scale", x: this.#x(index), y: HEIGHT - 6, "text-anchor": "middle" }, clockMinute(at[index])));
    }
    lines.forEach(({ points }, number) => parts.push(draw("path", { class: `line line-${number + 1}`, d: this.#path(points, y) })));
    this.cursor = draw("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" });
    this.drawing.setAttribute("width", String(this.#width));
    this.drawing.replaceChildren(...parts, this.cursor);
    this.#tell();
  }

  // The steps under which a time is written: round ones, not too close to each other.
  #labelled() {
    const { at } = this.#series;
    const minutes = (at.at(-1) - at[0]) / 60_000;
    const room = Math.max(1, Math.floor((this.#width - MARGIN.left - MARGIN.right) / LABEL_EVERY));
    const every = (STEPS_MINUTES.find((one) => minutes / one <= room) ?? 240) * 60_000;
    const offset = new Date(at[0]).getTimezoneOffset() * 60_000;
    const slot = (ms) => Math.floor((ms - offset) / every);
    return [...at.keys()].filter(
      (index) =>
        index > 0 && slot(at[index]) !== slot(at[index - 1]) && this.#x(index) > MARGIN.left + 12 && this.#x(index) < this.#width - MARGIN.right - 14,
    );
  }

  // A value alone between unknown ones is a dot: a short line with round ends.
  #path(points, y) {
    let open = false;
    return points
      .map((value, index) => {
        if (value === null) {
          open = false;
          return "";
        }
        const step = `${open ? "L" : "M"}${this.#x(index).toFixed(1)},${y(value).toFixed(1)}`;
        const alone = !open && (points[index + 1] ?? null) === null;
        open = true;
        return alone ? `${step}m-1.5,0h3` : step;
      })
      .join("");
  }

  #point(x) {
    const inner = this.#width - MARGIN.left - MARGIN.right;
    const steps = this.#series.at.length - 1;
    this.#move(Math.max(0, Math.min(steps, Math.round(((x - MARGIN.left) / inner) * steps))));
  }

  #key(event) {
    const steps = this.#series.at.length - 1;
    const now = this.#cursor ?? steps;
    const moved = { ArrowLeft: now - 1, ArrowRight: now + 1, PageUp: now - 30, PageDown: now + 30, Home: 0, End: steps }[event.key];
    if (event.key === "Escape") this.#move(undefined);
    if (moved === undefined) return;
    event.preventDefault();
    this.#move(Math.max(0, Math.min(steps, moved)));
  }

  #move(index) {
    this.#cursor = index;
    this.#tell();
  }

  // The legend has the values under the cursor, else the latest that are known.
  #tell() {
    const { at, lines, more } = this.#series;
    if (!at.length || !this.cursor) return;
    const value = ({ points }) => (this.#cursor === undefined ? points.findLast((one) => one !== null) : points[this.#cursor]);
    this.moment.textContent = this.#cursor === undefined ? "now" : clockSecond(at[this.#cursor]);
    const entries = lines.map((line, number) =>
      make(
        "span",
        { class: "entry" },
        make("span", { class: `stroke stroke-${number + 1}` }),
        make("span", { text: line.label }),
        make("strong", { text: this.form(value(line)) }),
      ),
    );
    if (more > 0) entries.push(make("span", { text: `and ${more} lower ones` }));
    this.legend.replaceChildren(...entries);
    const spoken = lines.map((line) => `${line.label} ${this.form(value(line))}`).join(", ");
    this.drawing.setAttribute("aria-label", `${this.title}, ${this.moment.textContent}: ${spoken}. Highest ${this.form(this.#series.top)}. Arrow keys go through time.`);
    this.cursor.setAttribute("visibility", this.#cursor === undefined ? "hidden" : "visible");
    if (this.#cursor !== undefined) {
      this.cursor.setAttribute("x1", this.#x(this.#cursor));
      this.cursor.setAttribute("x2", this.#x(this.#cursor));
    }
  }
}
