// Two line charts over the epochs; redrawn at most ten times a second, whatever arrives.

const REDRAW = 100;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export class Chart {
  /** `series`: [{label, metric, colour, value}] over `metrics` of the epochs. */
  constructor(element, series) {
    this.element = element;
    this.series = series;
    this.data = [[], ...series.map(() => [])];
    this.timer = null;
    this.plot = this.make();
    new ResizeObserver(() => this.plot.setSize(this.size())).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.plot.destroy();
      this.plot = this.make();
    });
  }

  size() {
    // The legend stands below the canvas, inside the same box.
    return { width: this.element.clientWidth, height: this.element.clientHeight - 56 };
  }

  make() {
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 } };
    return new uPlot(
      {
        ...this.size(),
        scales: { x: { time: false } },
        axes: [
          { ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000] },
          { ...axis, size: 64, values: (_, ticks) => ticks.map(this.series[0].tick) },
        ],
        series: [
          { label: "epoch" },
          ...this.series.map((one) => ({
            label: one.label,
            stroke: colour(one.colour),
            width: 2,
            points: { show: (_, __, first, last) => last - first < 60 },
            value: (_, value) => one.value(value),
          })),
        ],
      },
      this.data,
      this.element,
    );
  }

  add(epoch, metrics) {
    this.data[0].push(epoch);
    this.series.forEach((one, index) => this.data[index + 1].push(metrics[one.metric] ?? null));
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.plot.setData(this.data);
    }, REDRAW);
  }
}
