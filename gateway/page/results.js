// What the stream has told: cells by organization, always the latest version. No drawing here.

export const keyOf = (cell) => `${cell.school_year}:${cell.test}:${cell.grade}`;

export const gradeName = (grade) => (grade === "KG" ? "Kindergarten" : `Grade ${Number(grade)}`);

const gradeNumber = (grade) => (grade === "KG" ? 0 : Number(grade));

// The order of a state report: by subject, in each the summative test that nearly all take before alternates and interims.
const SUBJECTS = ["ELA", "Math", "Science", "ELPAC", "CSA"];
const rank = ({ subject, test }) => SUBJECTS.indexOf(subject) * 2 + (/^CAA|ALT|ICA|IAB/.test(test) ? 1 : 0);

// A cell is later when its version or its time is. Versions grow with every change; times cover the one case in which a
// version can come twice, a store that went back to an older state.
const isLater = (cell, known) => !known || cell.version > known.version || cell.changed > known.changed;

const isShown = (cell) => cell.suppressed || cell.results > 0;

export class Results {
  #organizations = new Map(); // id -> {name, level, cells: Map(key -> cell)}

  // A put replaces everything of the organizations that it names.
  put(message) {
    for (const { id, name, level, cells } of message.organizations) {
      this.#organizations.set(id, { name, level, cells: new Map(cells.map((cell) => [keyOf(cell), cell])) });
    }
  }

  // Returns what changed: [{id, before, after}].
  patch(message) {
    const changes = [];
    for (const { id, cells } of message.organizations) {
      const known = this.#organizations.get(id);
      if (!known) continue; // its put is still to come, and will have it
      for (const cell of cells) {
        const before = known.cells.get(keyOf(cell));
        if (!isLater(cell, before)) continue;
        known.cells.set(keyOf(cell), cell);
        changes.push({ id, before, after: cell });
      }
    }
    return changes;
  }

  name(id) {
    return this.#organizations.get(id)?.name ?? id;
  }

  // A cell whose last result has moved away is there with 0 results, and is shown as none. A suppressed one has no count.
  cell(id, key) {
    const cell = this.#organizations.get(id)?.cells.get(key);
    return cell && isShown(cell) ? cell : undefined;
  }

  years(ids) {
    const years = new Set(this.#all(ids).map((cell) => cell.school_year));
    return [...years].sort((a, b) => b - a);
  }

  // The tests of one year, each with its grades: [{test, name, subject, levels, grades: [{grade, key}]}].
  tests(ids, year) {
    const tests = new Map();
    for (const cell of this.#all(ids)) {
      if (cell.school_year !== year) continue;
      if (!tests.has(cell.test)) {
        tests.set(cell.test, {
          test: cell.test,
          name: cell.test_name,
          subject: cell.subject,
          levels: [],
          grades: new Map(),
        });
      }
      const { levels } = tests.get(cell.test);
      // Where figures are held back, a cell may come without levels.
      if (levels.length === 0) levels.push(...cell.levels.map((level) => level.name));
      tests.get(cell.test).grades.set(cell.grade, keyOf(cell));
    }
    return [...tests.values()]
      .sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name))
      .map((test) => ({
        ...test,
        grades: [...test.grades].map(([grade, key]) => ({ grade, key })).sort((a, b) => gradeNumber(a.grade) - gradeNumber(b.grade)),
      }));
  }

  #all(ids) {
    return ids.flatMap((id) => [...(this.#organizations.get(id)?.cells.values() ?? [])].filter(isShown));
  }
}
