// How fast the epochs come, and how long it may still take; `training/standing.py` reckons likewise.

import { about } from "./formatting.js";

const FEWEST = 20,
  MOST = 120;

export class Pace {
  /** `ends`: when the newest epochs of this attempt ended. */
  constructor(ends = []) {
    this.ends = ends.map((end) => Date.parse(end));
  }

  begin() {
    this.ends = [];
  }

  add(at) {
    this.ends.push(at);
    if (this.ends.length > MOST) this.ends.shift();
  }

  /** Seconds an epoch; null before there are two. */
  get each() {
    const newer = this.ends.slice(-Math.max(FEWEST + 1, Math.floor(this.ends.length / 2)));
    return newer.length < 2 ? null : (newer.at(-1) - newer[0]) / 1000 / (newer.length - 1);
  }

  left(epochs, now) {
    if (this.each === null) return "";
    const since = Math.min((now - this.ends.at(-1)) / 1000, this.each);
    return about(Math.max(0, this.each * epochs - since));
  }
}
