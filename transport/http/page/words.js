// Numbers, times and names as a person reads them.

const GROUPED = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const count = (number) => (number === null || number === undefined ? "" : GROUPED.format(number));

/** `0.4 %`, and nothing where nothing is known. */
export function percent(fraction, digits = 1) {
  if (fraction === null || fraction === undefined) return "";
  return `${(100 * fraction).toFixed(fraction === 0 || fraction === 1 ? 0 : digits)} %`;
}

/** A duration in seconds: `12 ms`, `3.2 s`, `1 min 12 s`, `2 h 5 min`, `3 d`. */
export function span(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "";
  if (seconds < 0.0995) return `${Math.max(0, seconds * 1000).toFixed(seconds < 0.00995 ? 1 : 0)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return parts(whole, 60, "min", 1, "s");
  if (whole < 86400) return parts(Math.round(whole / 60), 60, "h", 1, "min");
  return parts(Math.round(whole / 3600), 24, "d", 1, "h");
}

function parts(number, size, large, unit, small) {
  const rest = number % size;
  return rest ? `${Math.floor(number / size)} ${large} ${rest} ${small}` : `${number / size} ${large}`;
}

/** The same in at most four characters, for a square: `8s`, `14s`, `3m`, `2h`, `9d`. */
export function brief(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86400)}d`;
}

export const since = (instant, now = Date.now()) => (instant ? (now - Date.parse(instant)) / 1000 : null);

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** A time of day; with the day where it is not today. */
export function clock(instant) {
  if (!instant) return "";
  const at = new Date(instant);
  const time = CLOCK.format(at);
  return at.toDateString() === new Date().toDateString() ? time : `${DAY.format(at)} ${time}`;
}

export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

// One colour for each first part of a type, the same wherever it is shown.
const COLOURS = 8;
const FIXED = { video: 0, audio: 1, ml: 2, web: 3, image: 4, text: 5 };
const given = new Map();
const reserved = new Set(Object.values(FIXED));

export function media(type) {
  const name = type.split(".")[0];
  if (!given.has(name)) given.set(name, Object.hasOwn(FIXED, name) ? FIXED[name] : free(name));
  return `m${given.get(name)}`;
}

function free(name) {
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
  const taken = new Set([...reserved, ...given.values()]);
  for (let step = 0; step < COLOURS; step += 1) {
    const colour = (hash + step) % COLOURS;
    if (!taken.has(colour)) return colour;
  }
  return hash % COLOURS;
}
