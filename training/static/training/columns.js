// The metrics by epoch, as columns of bounded length that keep every peak.

const MAX_ROWS = 1600;

/**
 * The rows of `columns` to keep, at most `limit`: from equally long intervals those where any
 * column has its minimum or maximum, as `downsample_minmax` in training/jobs/chart_series.py.
 */
export function downsampleMinMax(columns, limit) {
  const count = columns[0]?.length ?? 0;
  if (count <= limit) return [...Array(count).keys()];
  const intervals = Math.max(1, Math.floor((limit - 2) / (2 * columns.length)));
  const kept = new Set([0, count - 1]);
  for (let index = 0; index < intervals; index += 1) {
    const start = Math.floor((index * count) / intervals),
      end = Math.floor(((index + 1) * count) / intervals);
    for (const column of columns) {
      let low = null,
        high = null;
      for (let row = start; row < end; row += 1) {
        const value = column[row];
        if (value === null || value === undefined) continue;
        if (low === null || value < column[low]) low = row;
        if (high === null || value > column[high]) high = row;
      }
      if (low !== null) kept.add(low).add(high);
    }
  }
  return [...kept].sort((a, b) => a - b);
}

export class Columns {
  /** `data`: {epoch, seconds, series} from the server; `gaps`: the epochs after which training was paused. */
  constructor(data, gaps = [], maxRows = MAX_ROWS) {
    this.names = Object.keys(data.series);
    this.maxRows = maxRows;
    this.epoch = [...data.epoch];
    this.seconds = [...(data.seconds ?? [])];
    this.series = Object.fromEntries(this.names.map((name) => [name, [...data.series[name]]]));
    this.gaps = new Set(gaps);
  }

  get last() {
    return this.epoch.at(-1) ?? 0;
  }

  /** Returns false if the epoch is already there. */
  add(epoch, metrics, seconds = null) {
    if (epoch <= this.last) return false;
    this.epoch.push(epoch);
    this.seconds.push(seconds ?? this.seconds.at(-1) ?? 0);
    for (const name of this.names) this.series[name].push(metrics[name] ?? null);
    if (this.epoch.length > this.maxRows) this.downsample();
    return true;
  }

  addGap(epoch) {
    this.gaps.add(epoch);
  }

  at(name, epoch) {
    const row = this.epoch.indexOf(epoch);
    return row < 0 ? null : this.series[name][row];
  }

  downsample() {
    const kept = downsampleMinMax(
      this.names.map((name) => this.series[name]),
      Math.floor(this.maxRows / 2),
    );
    const pick = (column) => kept.map((row) => column[row]);
    this.epoch = pick(this.epoch);
    this.seconds = pick(this.seconds);
    for (const name of this.names) this.series[name] = pick(this.series[name]);
  }

  /** [x, ...series] for a chart, with a row of nulls after each gap to interrupt the curve. */
  table(names) {
    const gaps = [...this.gaps].filter((epoch) => epoch < this.last).sort((a, b) => a - b);
    if (!gaps.length) return [this.epoch, ...names.map((name) => this.series[name])];
    const table = [[], ...names.map(() => [])];
    let next = 0;
    this.epoch.forEach((epoch, row) => {
      while (next < gaps.length && gaps[next] < epoch) {
        table[0].push(gaps[next] + 0.5);
        names.forEach((_, index) => table[index + 1].push(null));
        next += 1;
      }
      table[0].push(epoch);
      names.forEach((name, index) => table[index + 1].push(this.series[name][row]));
    });
    return table;
  }
}
