// The epochs as columns: bounded, however long a training lasts, and without losing a peak.

const CAP = 1600;

/** Which rows to keep of `columns`: at most `limit`, each stretch with every column's extremes. */
export function thinned(columns, limit) {
  const count = columns[0]?.length ?? 0;
  if (count <= limit) return [...Array(count).keys()];
  const stretches = Math.max(1, Math.floor((limit - 2) / (2 * columns.length)));
  const kept = new Set([0, count - 1]);
  for (let index = 0; index < stretches; index += 1) {
    const start = Math.floor((index * count) / stretches),
      end = Math.floor(((index + 1) * count) / stretches);
    for (const column of columns) {
      let low = null,
        high = null;
      for (let row = start; row < end; row += 1) {
        const value = column[row];
        if (value === null) continue;
        if (low === null || value < column[low]) low = row;
        if (high === null || value > column[high]) high = row;
      }
      if (low !== null) kept.add(low).add(high);
    }
  }
  return [...kept].sort((one, other) => one - other);
}

export class Columns {
  /** `told`: {epoch, seconds, series} as the server sends them; `gaps`: rested after these epochs. */
  constructor(told, gaps = [], cap = CAP) {
    this.names = Object.keys(told.series);
    this.cap = cap;
    this.epoch = [...told.epoch];
    this.seconds = [...(told.seconds ?? [])];
    this.series = Object.fromEntries(this.names.map((name) => [name, [...told.series[name]]]));
    this.gaps = new Set(gaps);
  }

  get last() {
    return this.epoch.at(-1) ?? 0;
  }

  /** False where the epoch is known already. */
  add(epoch, metrics, seconds = null) {
    if (epoch <= this.last) return false;
    this.epoch.push(epoch);
    this.seconds.push(seconds ?? this.seconds.at(-1) ?? 0);
    for (const name of this.names) this.series[name].push(metrics[name] ?? null);
    if (this.epoch.length > this.cap) this.thin();
    return true;
  }

  rest(epoch) {
    this.gaps.add(epoch);
  }

  at(name, epoch) {
    const row = this.epoch.indexOf(epoch);
    return row < 0 ? null : this.series[name][row];
  }

  thin() {
    const kept = thinned(
      this.names.map((name) => this.series[name]),
      Math.floor(this.cap / 2),
    );
    const pick = (column) => kept.map((row) => column[row]);
    this.epoch = pick(this.epoch);
    this.seconds = pick(this.seconds);
    for (const name of this.names) this.series[name] = pick(this.series[name]);
  }

  /** [x, ...series] for a chart; where the training rested stands a row of nulls, which lifts the pen. */
  table(names) {
    const rests = [...this.gaps]
      .filter((epoch) => epoch < this.last)
      .sort((one, other) => one - other);
    if (!rests.length) return [this.epoch, ...names.map((name) => this.series[name])];
    const table = [[], ...names.map(() => [])];
    let next = 0;
    this.epoch.forEach((epoch, row) => {
      while (next < rests.length && rests[next] < epoch) {
        table[0].push(rests[next] + 0.5);
        names.forEach((_, index) => table[index + 1].push(null));
        next += 1;
      }
      table[0].push(epoch);
      names.forEach((name, index) => table[index + 1].push(this.series[name][row]));
    });
    return table;
  }
}
