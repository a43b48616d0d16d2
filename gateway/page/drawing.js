// Draws figures into elements that are made once and then changed in place, so that focus and selection stay.

import { gradeName } from "./results.js";

const whole = new Intl.NumberFormat();
const tenth = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const number = (value) => (value === null || value === undefined ? "–" : whole.format(value));
// Scale scores are written without separators, and halves (of a median) with their half.
export const score = (value) => (value === null || value === undefined ? "–" : String(value));
export const percent = (value) => (value === null || value === undefined ? "–" : `${tenth.format(value)}%`);
// Of few students, in what everybody may see, nothing is said; that is not the same as having no results.
export const HELD_BACK = "Held back: so few students that figures would tell about single ones.";
export const heldBack = (cell, text) => (cell?.suppressed ? "*" : text);
export const time = (text) => clock.format(new Date(text));

export const at = (id) => document.getElementById(id);

export function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Beside the heading: how it stands with the gateway, and how fresh what is shown is.
export function connection(state, words, freshness) {
  at("connection").dataset.state = state;
  at("connection-state").textContent = words;
  at("freshness").textContent = freshness;
}

// Puts a text in, and lights the element up when it was another one before.
export function show(element, text, flash = true) {
  element.title = text === "*" ? HELD_BACK : "";
  if (element.textContent === text) return;
  const first = element.textContent === "";
  element.textContent = text;
  if (flash && !first) light(element);
}

export function light(element) {
  element.classList.remove("changed");
  void element.offsetWidth; // restarts the animation
  element.classList.add("changed");
}

// A stacked bar of level percentages; the numbers stand beside it or in its label.
export class LevelBar {
  constructor(className) {
    this.element = make("div", { class: `bar ${className}`, role: "img" });
  }

  update(levels) {
    const total = levels.reduce((sum, level) => sum + level.count, 0);
    while (this.element.children.length < levels.length) this.element.append(make("span"));
    while (this.element.children.length > levels.length) this.element.lastChild.remove();
    levels.forEach((level, index) => {
      const part = this.element.children[index];
      part.className = `level-${scaled(index, levels.length)}`;
      part.style.setProperty("flex-grow", String(total ? level.count : 0));
    });
    this.element.classList.toggle("none", total === 0);
    const spoken = levels.map((level) => `${level.name} ${percent(level.percent)}`).join(", ");
    this.element.setAttribute("aria-label", total ? spoken : "no levels yet");
    this.element.title = total ? spoken : "";
  }
}

// Three levels take the colours of the first, third and fourth of four.
export const scaled = (index, count) => (count === 3 ? [1, 3, 4][index] : index + 1);

// One organization's figures for the chosen test and grade.
export class Card {
  #fields = {};
  #levels = make("ul", { class: "levels" });
  #claims = make("div", { class: "claims" });
  #bar = new LevelBar("thick");
  #claimBars = [];

  constructor(role) {
    const figure = (name, label) => {
      this.#fields[name] = make("dd");
      return make("div", { class: `figure ${name}` }, make("dt", { text: label }), this.#fields[name]);
    };
    this.heading = make("h3");
    this.body = make(
      "div",
      { class: "body" },
      make("dl", { class: "figures" }, figure("mean", "Mean"), figure("median", "Median"), figure("scored", "With scores")),
      this.#bar.element,
      this.#levels,
      this.#claims,
    );
    this.more = make("p", { class: "more" });
    this.none = make("p", { class: "quiet", text: "No results for this grade yet." });
    this.element = make(
      "article",
      { class: "card" },
      make("header", {}, make("span", { class: "role", text: role }), this.heading),
      this.none,
      this.body,
      this.more,
    );
  }

  update(name, cell, flash) {
    this.heading.textContent = name;
    this.none.hidden = Boolean(cell);
    this.body.hidden = this.more.hidden = !cell;
    if (!cell) return;
    show(this.#fields.mean, heldBack(cell, score(cell.mean)), flash);
    show(this.#fields.median, heldBack(cell, score(cell.median)), flash);
    show(this.#fields.scored, heldBack(cell, number(cell.with_scores)), flash);
    this.#bar.update(cell.levels);
    this.#drawLevels(cell.levels, flash);
    this.#drawClaims(cell.claims);
    const half = cell.first_quartile === null ? "" : `The middle half scored ${score(cell.first_quartile)} to ${score(cell.third_quartile)}. `;
    const error = cell.standard_error === null ? "" : `Standard error of the mean ${tenth.format(cell.standard_error)}. `;
    const appeal = cell.under_appeal ? `, ${number(cell.under_appeal)} under appeal` : "";
    if (cell.suppressed) {
      this.more.textContent = HELD_BACK;
      return;
    }
    const results = `${number(cell.results)} ${cell.results === 1 ? "result" : "results"}${appeal}. `;
    this.more.textContent = `${half}${error}${results}Last change ${time(cell.changed)}.`;
  }

  #drawLevels(levels, flash) {
    if (this.#levels.children.length !== levels.length) {
      this.#levels.replaceChildren(
        ...levels.map((_, index) =>
          make(
            "li",
            {},
            make("span", { class: `swatch level-${scaled(index, levels.length)}` }),
            make("span", { class: "name" }),
            make("span", { class: "count" }),
            make("span", { class: "percent" }),
          ),
        ),
      );
    }
    [...levels].reverse().forEach((level, index) => {
      const [swatch, name, count, share] = this.#levels.children[index].children;
      swatch.className = `swatch level-${scaled(level.level - 1, levels.length)}`;
      name.textContent = level.name;
      show(count, number(level.count), flash);
      show(share, percent(level.percent), flash);
    });
  }

  #drawClaims(claims) {
    const counted = claims.filter((claim) => claim.levels.some((level) => level.count));
    const names = counted.map((claim) => claim.code).join();
    if (this.#claims.dataset.names !== names) {
      this.#claims.dataset.names = names;
      this.#claimBars = counted.map(() => new LevelBar("thin"));
      this.#claims.replaceChildren(
        ...counted.map((claim, index) => make("div", { class: "claim" }, make("span", { text: claim.name }), this.#claimBars[index].element)),
      );
    }
    counted.forEach((claim, index) => this.#claimBars[index].update(claim.levels));
  }
}

// All grades of one test, school and district side by side.
export class TestTable {
  #rows = new Map(); // key -> {row, sides: [{scored, mean, bar}]}

  constructor(test, columns, choose) {
    const legend = make("span", { class: "legend" });
    test.levels.forEach((name, index) => {
      const swatch = make("span", { class: `swatch level-${scaled(index, test.levels.length)}` });
      legend.append(make("span", { class: "entry" }, swatch, name));
    });
    const head = make("tr", {}, make("th", { scope: "col", text: "Grade" }));
    for (const column of columns) {
      head.append(
        make("th", { scope: "col", class: "start", text: `${column} scored` }),
        make("th", { scope: "col", text: "Mean" }),
        make("th", { scope: "col", class: "wide", text: "Levels" }),
      );
    }
    const body = make("tbody");
    for (const { grade, key } of test.grades) body.append(this.#makeRow(grade, key, columns, choose));
    this.element = make(
      "table",
      { class: `results-of-${columns.length}` },
      make("caption", {}, make("span", { text: test.name }), legend),
      make("thead", {}, head),
      body,
    );
  }

  #makeRow(grade, key, columns, choose) {
    const button = make("button", { type: "button", text: gradeName(grade) });
    button.addEventListener("click", () => choose(key));
    const row = make("tr", {}, make("th", { scope: "row" }, button));
    const sides = columns.map((column) => {
      const side = { scored: make("td", { class: "start", "data-side": column }), mean: make("td"), bar: new LevelBar("small") };
      row.append(side.scored, side.mean, make("td", { class: "wide" }, side.bar.element));
      return side;
    });
    this.#rows.set(key, { row, button, sides });
    return row;
  }

  update(key, cells, flash) {
    const found = this.#rows.get(key);
    if (!found) return;
    found.sides.forEach((side, index) => {
      const cell = cells[index];
      show(side.scored, heldBack(cell, number(cell?.with_scores)), flash);
      show(side.mean, heldBack(cell, score(cell?.mean)), flash);
      side.bar.update(cell?.levels ?? []);
    });
  }

  choose(chosen) {
    for (const [key, { row, button }] of this.#rows) {
      row.classList.toggle("chosen-row", key === chosen);
      button.setAttribute("aria-pressed", String(key === chosen));
    }
  }

  get keys() {
    return [...this.#rows.keys()];
  }
}
