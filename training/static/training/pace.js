// How fast the epochs come, and how long it may still take; `training/standing.py` reckons likewise.

import { about } from "./words.js";

const FEWEST = 5, MOST = 60;

export class Pace {
  /** `ends`: when the newest epochs of this attempt ended. */
  constructor(ends = []) {
    this.ends = ends.map((end) => Date.parse(end));
    this.done = this.ends.length;
  }

  begin() {
    this.ends = [];
    this.done = 0;
  }

  add(at) {
    this.ends.push(at);
    this.done += 1;
    const keep = Math.min(MOST, Math.max(FEWEST, Math.floor(this.done / 5))) + 1;
    if (this.ends.length > keep) this.ends.splice(0, this.ends.length - keep);
  }

  /** Seconds an epoch; null before there are two. */
  get each() {
    if (this.ends.length < 2) return null;
    return (this.ends.at(-1) - this.ends[0]) / 1000 / (this.ends.length - 1);
  }

  left(epochs, now) {
    if (this.each === null) return "";
    const since = Math.min((now - this.ends.at(-1)) / 1000, this.each);
    return about(Math.max(0, this.each * epochs - since));
  }
}
