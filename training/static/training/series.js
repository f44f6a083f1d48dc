// The series of one chart as columns of bounded length, with x values by step, epoch or time.

import { downsampleMinMax } from "./columns.js";

const MAX_ROWS = 1600;

/** Where epochs begin, so that the steps between them have a place on an axis of epochs. */
export class EpochAnchors {
  constructor() {
    Object.assign(this, { firstSteps: new Map(), sorted: null });
  }

  add(step, epoch) {
    if ((this.firstSteps.get(epoch) ?? Infinity) <= step) return;
    this.firstSteps.set(epoch, step);
    this.sorted = null;
  }

  get known() {
    return this.firstSteps.size > 0;
  }

  /** [step, epoch], both ascending. */
  get pairs() {
    if (this.sorted) return this.sorted;
    const pairs = [];
    for (const [epoch, step] of [...this.firstSteps].sort(([a], [b]) => a - b))
      if (!pairs.length || step > pairs.at(-1)[0]) pairs.push([step, epoch]);
    if (pairs.length && pairs[0][0] > 0 && pairs[0][1] > 0) pairs.unshift([0, 0]);
    return (this.sorted = pairs);
  }

  /** The epoch of a step with its fraction. */
  at(step) {
    const { pairs } = this;
    if (pairs.length < 2) return pairs[0]?.[1] ?? null;
    let low = 0,
      high = pairs.length - 2;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (pairs[middle][0] <= step) low = middle;
      else high = middle - 1;
    }
    const [[fromStep, from], [toStep, to]] = [pairs[low], pairs[low + 1]];
    return from + ((to - from) * (step - fromStep)) / (toStep - fromStep);
  }
}

export class SeriesColumns {
  /** `names`: the series; `byStep`: whether rows are distinguished by step, else by epoch. */
  constructor(names, byStep, maxRows = MAX_ROWS) {
    Object.assign(this, { names, byStep, maxRows });
    this.clear();
  }

  clear() {
    this.repeated = false; // whether a step has several rows
    this.step = [];
    this.epoch = [];
    this.seconds = [];
    this.series = Object.fromEntries(this.names.map((name) => [name, []]));
    this.notFinite = Object.fromEntries(this.names.map((name) => [name, new Map()]));
  }

  get key() {
    return this.byStep ? this.step : this.epoch;
  }

  get length() {
    return this.key.length;
  }

  /** Replaces all rows by those of `data` from the server that have a value of these series. */
  load(data) {
    this.clear();
    const columns = this.names.map((name) => data.series[name] ?? []);
    const odd = this.names.map((name) => data.not_finite[name] ?? {});
    for (let row = 0; row < data.epoch.length; row += 1) {
      const values = columns.map((column, index) => {
        if (odd[index][row]) return null;
        // Without steps each row is an epoch, and one without a value interrupts the curve.
        return column[row] ?? (this.byStep ? undefined : null);
      });
      if (this.byStep && values.every((value) => value === undefined)) continue;
      this.push(data.step[row], data.epoch[row], data.seconds[row], values);
      this.names.forEach((name, index) => {
        if (odd[index][row]) this.notFinite[name].set(this.key.at(-1), odd[index][row]);
      });
    }
  }

  /** Adds a row or completes the last one. Returns false if it belongs before the last one. */
  add({ step, epoch, seconds }, metrics) {
    const key = this.byStep ? step : epoch;
    const last = this.key.at(-1) ?? -Infinity;
    if (key < last || (key === last && !this.byStep)) return false;
    if (key === last && !this.repeats(metrics)) {
      for (const name of this.names)
        if (name in metrics) this.series[name][this.length - 1] = metrics[name];
      this.noteNotFinite(step, metrics);
      return true;
    }
    const missing = this.byStep ? undefined : null;
    this.push(
      step ?? null,
      epoch ?? null,
      seconds,
      this.names.map((name) => (name in metrics ? metrics[name] : missing)),
    );
    if (this.byStep) this.noteNotFinite(step, metrics);
    if (this.length > this.maxRows) this.downsample();
    return true;
  }

  /** Whether the last row has another value of one of these metrics. */
  repeats(metrics) {
    return this.names.some((name) => {
      const [known, value] = [this.series[name].at(-1), metrics[name]];
      // The server rounds to six digits.
      return Number.isFinite(known) && Number.isFinite(value)
        ? Math.abs(value - known) > 1e-5 * Math.abs(known)
        : false;
    });
  }

  /** An event has null for NaN and infinities; the next answer of the server distinguishes them. */
  noteNotFinite(step, metrics) {
    for (const name of this.names)
      if (metrics[name] === null) this.notFinite[name].set(step, "not finite");
  }

  push(step, epoch, seconds, values) {
    if (this.byStep && step === this.step.at(-1)) this.repeated = true;
    this.step.push(step);
    this.epoch.push(epoch);
    this.seconds.push(seconds ?? this.seconds.at(-1) ?? 0);
    values.forEach((value, index) => this.series[this.names[index]].push(value));
  }

  downsample() {
    const kept = downsampleMinMax(
      this.names.map((name) => this.series[name]),
      Math.floor(this.maxRows / 2),
    );
    const pick = (column) => kept.map((row) => column[row]);
    this.step = pick(this.step);
    this.epoch = pick(this.epoch);
    this.seconds = pick(this.seconds);
    for (const name of this.names) this.series[name] = pick(this.series[name]);
  }

  /** [{x, step, name, text}] of the values that are not finite, ascending. */
  listNotFinite(axis, anchors) {
    const found = this.names.flatMap((name) =>
      [...this.notFinite[name]].map(([step, text]) => ({ step, name, text })),
    );
    if (!found.length) return found;
    const xs = this.xs(axis, anchors);
    const rows = new Map(this.key.map((key, row) => [key, row]));
    return found
      .flatMap((one) => (rows.has(one.step) ? [{ ...one, x: xs[rows.get(one.step)] }] : []))
      .sort((a, b) => a.step - b.step);
  }

  /** Whether any series has a number. */
  get hasValues() {
    return this.names.some((name) => this.series[name].some((value) => Number.isFinite(value)));
  }

  at(name, epoch) {
    const row = this.epoch.indexOf(epoch);
    return row < 0 ? null : (this.series[name]?.[row] ?? null);
  }

  /** The x values, ascending. */
  xs(axis, anchors) {
    if (axis === "step") return this.step;
    if (axis === "epoch")
      return this.byStep ? ascending(this.step.map((step) => anchors.at(step))) : this.epoch;
    return this.repeated ? this.seconds : ascending(this.seconds);
  }

  /**
   * {rows, columns} of a chart. Where steps have several rows, all of them by time, and the last
   * value of each step by step.
   */
  rows(axis) {
    const all = [...this.key.keys()];
    const columns = this.names.map((name) => this.series[name]);
    if (!this.repeated) return { rows: all, columns };
    if (axis === "time") {
      const rows = all.sort((a, b) => this.seconds[a] - this.seconds[b]);
      return { rows, columns: columns.map((column) => rows.map((row) => column[row])) };
    }
    const rows = [],
      last = columns.map(() => []);
    for (const row of all) {
      if (row && this.step[row] === this.step[row - 1]) rows[rows.length - 1] = row;
      else rows.push(row);
      columns.forEach((column, index) => {
        const value = column[row];
        if (value !== undefined || last[index].length < rows.length)
          last[index][rows.length - 1] = value;
      });
    }
    return { rows, columns: last };
  }

  /**
   * {data: [x, ...series], rows, breaks} for a chart. Nulls interrupt the curve where the training
   * was paused, after each epoch in `gaps`; `breaks` are these ranges of x. `rows` has the row of
   * each x value.
   */
  table(axis, anchors, gaps) {
    const { rows: shown, columns } = this.rows(axis);
    const pick = (column) => (this.repeated ? shown.map((row) => column[row]) : column);
    const xs = pick(this.xs(axis, anchors));
    const epochs =
      axis === "epoch"
        ? xs
        : pick(this.byStep ? this.step.map((one) => anchors.at(one)) : this.epoch);
    const paused = [...gaps].sort((a, b) => a - b);
    const rows = [...xs.keys()],
      breaks = [];
    if (!paused.length || !this.length) return { data: [xs, ...columns], rows: shown, breaks };
    const data = [[], ...columns.map(() => [])],
      rowOf = [];
    let next = 0;
    for (const row of rows) {
      while (next < paused.length && row > 0 && paused[next] < epochs[row]) {
        const gap = paused[next++];
        if (!(epochs[row - 1] <= gap)) continue;
        const middle = axis === "epoch" ? gap + 0.5 : (xs[row - 1] + xs[row]) / 2;
        breaks.push(axis === "epoch" ? [gap, gap + 1] : [xs[row - 1], xs[row]]);
        data[0].push(middle < xs[row] ? middle : (xs[row - 1] + xs[row]) / 2);
        rowOf.push(shown[row - 1]);
        columns.forEach((_, index) => data[index + 1].push(null));
      }
      data[0].push(xs[row]);
      rowOf.push(shown[row]);
      columns.forEach((column, index) => data[index + 1].push(column[row]));
    }
    return { data, rows: rowOf, breaks };
  }
}

/** Whether series have more than two values a step on average, as `share_steps` in Python. */
export function shareSteps({ step, series }) {
  let values = 0,
    steps = 0;
  for (const column of Object.values(series)) {
    let last = null;
    column.forEach((value, row) => {
      if (value === null) return;
      values += 1;
      if (step[row] !== last) steps += 1;
      last = step[row];
    });
  }
  return values > 2 * steps;
}

function ascending(values) {
  let highest = -Infinity;
  return values.map((value) => (highest = Math.max(highest, value ?? highest)));
}
