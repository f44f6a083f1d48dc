// The columns Best and At best epoch of the table of metrics, kept at the newest events.

import { formatCount, formatter } from "./formatting.js";
import { setText } from "./page.js";

const isBetter = (direction, value, other) =>
  direction === "minimize" ? value < other : value > other;

const DIRECTIONS = ["minimize", "maximize"];

export class BestValues {
  constructor() {
    this.reset();
  }

  /** Forgets all events, for example because a training continues from an earlier epoch. */
  reset() {
    this.extremes = new Map(); // by name: the lowest and the highest value, with their places
    this.bestEpoch = null;
  }

  /** An epoch, or a step between two epochs, with its metrics. */
  add({ epoch, step, metrics }, isEpoch) {
    const place = isEpoch ? `epoch ${formatCount(epoch)}` : `step ${formatCount(step)}`;
    for (const [name, value] of Object.entries(metrics)) {
      if (!Number.isFinite(value)) continue;
      const known = this.extremes.get(name) ?? {};
      for (const direction of DIRECTIONS)
        if (!known[direction] || isBetter(direction, value, known[direction].value))
          known[direction] = { value, place };
      this.extremes.set(name, known);
    }
  }

  /** The epoch that is now the best by the objective of the job. */
  setBestEpoch({ epoch, metrics }) {
    this.bestEpoch = { epoch, metrics };
  }

  /** The table may be newer than these events: then its values stay. */
  show(program) {
    for (const cell of document.querySelectorAll("[data-best]")) {
      const { best: name, direction, value: shown } = cell.dataset;
      const found = this.extremes.get(name)?.[direction];
      const metric = program.metrics[name];
      if (!found || !metric) continue;
      if (shown && !isBetter(direction, found.value, Number(shown))) continue;
      cell.dataset.value = found.value;
      setText(cell, formatter(metric)(found.value));
      setText(cell.nextElementSibling, found.place);
    }
    const head = document.querySelector("[data-best-epoch]");
    if (!head || !this.bestEpoch) return;
    const { epoch, metrics } = this.bestEpoch;
    const { bestEpoch: shownEpoch } = head.dataset;
    if (shownEpoch !== "" && epoch <= Number(shownEpoch)) return;
    head.dataset.bestEpoch = epoch;
    setText(head, `At best epoch (${formatCount(epoch)})`);
    for (const cell of document.querySelectorAll("[data-at-best]")) {
      const metric = program.metrics[cell.dataset.atBest];
      if (metric) setText(cell, formatter(metric)(metrics[metric.name]));
    }
  }
}
