// Choosing a school by typing part of its name or code: an ARIA combobox with a list below.

import { make } from "./drawing.js";

const MOST_SHOWN = 50;

export class Picker {
  #schools = [];
  #shown = [];
  #active = -1;
  #chosen;

  constructor(input, list, onChoose) {
    this.input = input;
    this.list = list;
    this.onChoose = onChoose;
    input.addEventListener("focus", () => { input.select(); this.#open(""); });
    input.addEventListener("input", () => this.#open(input.value));
    input.addEventListener("keydown", (event) => this.#key(event));
    input.addEventListener("blur", () => this.#close());
    // mousedown, not click: the input's blur comes first otherwise, and closes the list under the pointer.
    list.addEventListener("mousedown", (event) => {
      event.preventDefault();
      const option = event.target.closest("[role=option]");
      if (option) this.#take(this.#shown[Number(option.dataset.index)]);
    });
  }

  fill(schools, names) {
    this.#schools = schools
      .map((school) => ({ ...school, district: names.get(`${school.id.slice(0, 7)}0000000`) ?? "" }))
      .sort((a, b) => a.name.localeCompare(b.name) || a.id.localeCompare(b.id));
  }

  first() {
    return this.#schools[0];
  }

  find(id) {
    return this.#schools.find((school) => school.id === id);
  }

  choose(school) {
    this.#chosen = school;
    this.input.value = school ? school.name : "";
  }

  #open(text) {
    const words = text.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const matches = this.#schools.filter((school) => {
      const searched = `${school.name} ${school.district} ${school.id}`.toLocaleLowerCase();
      return words.every((word) => searched.includes(word));
    });
    this.#shown = matches.slice(0, MOST_SHOWN);
    this.#active = -1;
    const options = this.#shown.map((school, index) =>
      make(
        "li",
        { role: "option", id: `school-${index}`, "data-index": index, "aria-selected": String(school.id === this.#chosen?.id) },
        make("span", { text: school.name }),
        make("small", { text: `${school.district} · ${school.id}` }),
      ),
    );
    if (matches.length > MOST_SHOWN) options.push(make("li", { class: "quiet", text: `${matches.length - MOST_SHOWN} more: type to narrow` }));
    if (!matches.length) options.push(make("li", { class: "quiet", text: "No school of that name or code" }));
    this.list.replaceChildren(...options);
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.input.removeAttribute("aria-activedescendant");
  }

  #close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
    this.input.value = this.#chosen ? this.#chosen.name : "";
  }

  #take(school) {
    if (!school) return;
    this.choose(school);
    this.input.blur();
    this.onChoose(school);
  }

  #key(event) {
    if (event.key === "Escape") {
      this.input.blur();
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.#take(this.#shown[this.#active] ?? (this.#shown.length === 1 ? this.#shown[0] : undefined));
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (this.list.hidden) this.#open("");
      const step = event.key === "ArrowDown" ? 1 : -1;
      this.#active = Math.max(0, Math.min(this.#shown.length - 1, this.#active + step));
      [...this.list.children].forEach((option, index) => option.classList.toggle("active", index === this.#active));
      const active = this.list.children[this.#active];
      if (active) {
        this.input.setAttribute("aria-activedescendant", active.id);
        active.scrollIntoView({ block: "nearest" });
      }
    }
  }
}
