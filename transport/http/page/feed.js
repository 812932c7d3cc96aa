// The stream of what the pool is: keeps one document up to date and says when the server was last heard.

import { headers } from "./api.js";

const SILENCE = 25_000; // the server says something every ten seconds
const PAUSE_MAX = 5_000;
const UNSEEN = 5_000; // from when on nobody looks at the page
const RESTS = new Error("nobody looks"); // why a stream is ended on purpose

/** A merge patch (RFC 7396). */
export function patched(target, patch) {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const result = target !== null && typeof target === "object" && !Array.isArray(target) ? target : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) {
      delete result[name];
      continue;
    }
    const made = patched(Object.hasOwn(result, name) ? result[name] : undefined, value);
    Object.defineProperty(result, name, { value: made, writable: true, enumerable: true, configurable: true }); // it may be `__proto__`
  }
  return result;
}

export class Feed {
  /** `changed(document)` after each piece of news, `linked(since, why)` with null when the server is heard, else since when it is
   * not, and with what status it refused; `rested()` when nothing is read any more because nobody looks. */
  constructor(changed, linked, rested) {
    Object.assign(this, { changed, linked, rested, document: null, lost: null, pause: 250 });
    Object.assign(this, { at: null, isCurrent: false, rests: false, stop: null, leaving: null, wake: null });
  }

  /** Read for as long as the page lives and somebody looks at it: a browser has six connections to a server, for all pages. */
  async run() {
    document.addEventListener("visibilitychange", () => this.look());
    this.look();
    for (;;) {
      if (this.rests) await new Promise((resolve) => { this.wake = resolve; });
      const stop = this.stop = new AbortController();
      try {
        await this.read(stop);
        this.refusal = null;
      } catch (error) {
        this.refusal = error.status ?? null;
      }
      if (stop.signal.reason === RESTS) continue;
      if (this.lost === null) this.lost = this.at ?? Date.now();
      this.linked(this.lost, this.refusal);
      await new Promise((resolve) => setTimeout(resolve, this.pause));
      this.pause = Math.min(PAUSE_MAX, this.pause * 2);
    }
  }

  /** The page came into sight, or went out of it. */
  look() {
    clearTimeout(this.leaving);
    if (document.hidden) {
      this.leaving = setTimeout(() => this.rest(), UNSEEN);
    } else {
      this.rests = false;
      this.wake?.();
    }
  }

  rest() {
    this.rests = true;
    this.stop.abort(RESTS);
    if (this.lost === null) this.rested();
  }

  async read(stop) {
    let silence = setTimeout(() => stop.abort(), SILENCE);
    const answer = await fetch("/api/events", { headers: headers(), signal: stop.signal, cache: "no-store" });
    if (!answer.ok) throw Object.assign(new Error(`${answer.status}`), { status: answer.status });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(silence);
        silence = setTimeout(() => stop.abort(), SILENCE);
        const pieces = (rest + value).split("\n\n");
        rest = pieces.pop();
        for (const piece of pieces) this.take(piece);
      }
    } finally {
      this.isCurrent = false;
      clearTimeout(silence);
      stop.abort();
    }
  }

  /** An event has come. */
  heard() {
    if (this.lost === null) return;
    this.lost = null;
    this.linked(null);
  }

  take(piece) {
    const [, name] = /^event: (\w+)$/m.exec(piece) ?? [];
    const [, data] = /^data: ([^\n]*)$/m.exec(piece) ?? []; // `.` stops at U+2028, which may stand in a text
    if (name) {
      const news = JSON.parse(data);
      this.document = name === "whole" ? news : patched(this.document, news);
      this.isCurrent = true;
      this.heard();
      this.changed(this.document, name === "whole" ? null : news);
      this.pause = 250; // not before: what cannot be shown would be read again at once, over and over
    }
    if (this.isCurrent) this.at = Date.now();
  }
}
