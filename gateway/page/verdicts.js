// What verdicts look like. No colour says anything that a word does not say, too.

import { make } from "./drawing.js";

const TONES = {
  ok: "good",
  incomplete: "quiet",
  replaying: "quiet",
  warn: "warn",
  skewed: "warn",
  rejecting: "warn",
  rewind: "warn",
  stale: "warn",
  stall: "bad",
  unassigned: "bad",
  fenced: "bad",
  stop: "bad",
  lost: "bad",
};
export const MARKS = { good: "✓", quiet: "…", warn: "!", bad: "✕" };

// The order of the verdicts is theirs: from good to bad. One that is newer than this page is bad.
export const severity = (verdict) => (verdict in TONES ? Object.keys(TONES).indexOf(verdict) : Infinity);
export const tone = (verdict) => TONES[verdict] ?? "bad";

export class Pill {
  constructor() {
    this.mark = make("span", { "aria-hidden": "true" });
    this.word = make("span");
    this.element = make("span", { class: "pill" }, this.mark, this.word);
  }

  show(verdict) {
    this.element.dataset.tone = tone(verdict);
    this.mark.textContent = MARKS[tone(verdict)];
    this.word.textContent = verdict;
    return this.element;
  }
}

export const pill = (verdict) => new Pill().show(verdict);
