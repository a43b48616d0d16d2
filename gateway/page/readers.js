// The table of readers: each with its lag, and its worst partitions under it when asked. Rows are changed in place, so that
// whoever is in the middle of one with the keyboard stays there.

import { make } from "./drawing.js";
import { clockSecond, count, seconds } from "./units.js";
import { Pill, pill, severity } from "./verdicts.js";

const HEADINGS = ["Reader", "Verdict", "Lag", "Records", "Partitions", "Worst partition"];

export class Readers {
  #rows = new Map();

  constructor(name) {
    this.body = make("tbody");
    const head = make("tr", {}, ...HEADINGS.map((text) => make("th", { scope: "col", text })));
    this.element = make("table", { class: "readers" }, make("caption", { class: "unseen", text: name }), make("thead", {}, head), this.body);
  }

  update(groups) {
    const keys = groups.map((group) => `${group.group} ${group.topic}`);
    for (const [key, row] of this.#rows) {
      if (keys.includes(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    let place = this.body.firstChild;
    groups.forEach((group, index) => {
      if (!this.#rows.has(keys[index])) this.#rows.set(keys[index], new Row(group));
      const row = this.#rows.get(keys[index]);
      row.update(group);
      // Only what is out of place is moved: an element that is moved loses the focus.
      if (row.row === place) place = row.details.nextSibling;
      else place ? place.before(row.row, row.details) : this.body.append(row.row, row.details);
    });
  }
}

// How many partitions there are; and of those how many are fine, when some are not.
const fine = ({ partition_count: all, verdicts }) => (verdicts?.ok === undefined || verdicts.ok === all ? count(all) : `${count(verdicts.ok)} of ${count(all)} ok`);

class Row {
  #open = false;
  static #made = 0;

  constructor({ group, topic }) {
    const id = `partitions-${++Row.#made}`;
    this.button = make("button", { type: "button", "aria-expanded": "false", "aria-controls": id }, make("span", { text: group }), make("small", { text: topic }));
    this.button.addEventListener("click", () => this.#toggle());
    this.verdict = new Pill();
    this.cells = ["Lag", "Records", "Partitions", "Worst"].map((label) => make("td", { "data-label": label }));
    this.row = make("tr", {}, make("th", { scope: "row" }, this.button), make("td", { class: "verdict" }, this.verdict.element), ...this.cells);
    this.inner = make("tbody");
    const headings = ["Partition", "Verdict", "Lag", "Records", "Read up to", "Log ends at", "Owner", "Since"];
    const table = make(
      "table",
      { class: "partitions" },
      make("caption", { class: "unseen", text: `Worst partitions of ${group}` }),
      make("thead", {}, make("tr", {}, ...headings.map((text) => make("th", { scope: "col", text })))),
      this.inner,
    );
    this.more = make("p", { class: "quiet" });
    this.details = make("tr", { class: "details", id, hidden: "" }, make("td", { colspan: String(HEADINGS.length) }, make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": `Partitions of ${group}` }, table), this.more));
  }

  remove() {
    this.row.remove();
    this.details.remove();
  }

  update(group) {
    this.group = group;
    this.verdict.show(group.verdict);
    const worst = group.partitions[0];
    const texts = [seconds(group.lag_seconds), count(group.lag_records), fine(group), worst && (worst.lag_records || severity(worst.verdict ?? "incomplete") > 0) ? `${worst.partition}: ${seconds(worst.lag_seconds)}` : "–"];
    this.cells.forEach((cell, index) => (cell.textContent = texts[index]));
    if (this.#open) this.#drawPartitions();
  }

  #toggle() {
    this.#open = !this.#open;
    this.button.setAttribute("aria-expanded", String(this.#open));
    this.details.hidden = !this.#open;
    if (this.#open) this.#drawPartitions();
  }

  // What is not known is left out of the answer.
  #drawPartitions() {
    const { partitions, partition_count: all } = this.group;
    // The relay reads changes of tables, and is as far as a moment.
    const place = (one) => (this.group.group === "relay" && one !== undefined ? clockSecond(one) : count(one));
    this.inner.replaceChildren(
      ...partitions.map((one) =>
        make(
          "tr",
          {},
          make("th", { scope: "row", text: one.partition }),
          make("td", {}, pill(one.verdict ?? "incomplete")),
          ...[
            seconds(one.lag_seconds),
            count(one.lag_records),
            place(one.position),
            place(one.end),
            one.owner || "–",
            one.since_ms === undefined ? "–" : clockSecond(one.since_ms),
          ].map((text) => make("td", { text })),
        ),
      ),
    );
    this.more.hidden = partitions.length >= all;
    this.more.textContent = `The worst ${count(partitions.length)} of ${count(all)}. All of them: scores lag --group ${this.group.group}`;
  }
}
