// Figures as people read them.

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const three = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const second = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

const known = (form) => (value) => (value === null || value === undefined ? "–" : form(value));

export const count = known((value) => (Math.abs(value) < 100 ? three.format(value) : whole.format(value)));

export const seconds = known((value) => {
  if (value < 0) return `−${seconds(-value)}`;
  if (value === 0) return "0 s";
  if (value < 0.0995) return `${three.format(value * 1000)} ms`;
  if (value < 10) return `${three.format(Number(value.toFixed(2)))} s`;
  const rounded = Math.round(value);
  if (rounded < 120) return `${rounded} s`;
  if (rounded < 7_200) return `${Math.floor(rounded / 60)} min ${rounded % 60} s`;
  return `${Math.floor(rounded / 3_600)} h ${Math.floor((rounded % 3_600) / 60)} min`;
});

const SIZES = ["bytes", "kB", "MB", "GB", "TB"];

export const bytes = known((value) => {
  const step = value < 1_000 ? 0 : Math.min(SIZES.length - 1, Math.floor(Math.log10(value) / 3));
  return `${three.format(value / 1_000 ** step)} ${SIZES[step]}`;
});

export const perSecond = known((value) => `${count(value)}/s`);
export const perMinute = known((value) => `${count(value)}/min`);

export const clockMinute = (ms) => minute.format(new Date(ms));
export const clockSecond = (ms) => second.format(new Date(ms));

const LABELS = {
  answer_seconds: "Answers in",
  events: "Events in the log",
  events_per_minute: "Events",
  limit_bytes: "Memory allowed",
  per_minute: "Rejected",
  used_bytes: "Memory used",
  waiting: "Messages waiting",
};

// The unit of a figure is in the end of its name.
const ENDINGS = [
  ["_bytes", bytes],
  ["_seconds", seconds],
  ["_per_second", perSecond],
  ["per_minute", perMinute],
];

export function figure(name, value, fallback = count) {
  const [ending, form] = ENDINGS.find(([one]) => name.endsWith(one)) ?? ["", fallback];
  const words = name.slice(0, name.length - ending.length).replaceAll("_", " ").trim();
  return { label: LABELS[name] ?? words.charAt(0).toUpperCase() + words.slice(1), text: form(value) };
}
