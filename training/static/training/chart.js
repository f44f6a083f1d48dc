// A line chart that grows: synchronized cursor and zoom, reference lines, a marker, gaps.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const FONT =
  "11px Inter, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', Arial, sans-serif";
/** The allowed distances of ticks on an axis of epochs, which are whole numbers. */
export const EPOCH_TICKS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000];
const storedScale = (name) => ({ 0: false, 1: true })[localStorage.getItem(`heimdall.log.${name}`)];

export class Chart {
  /**
   * `name`: the key under which the scale is stored; `series`: [{name, colour, dash, width}];
   * `format`: prints a value; `tick`: prints a tick of the y axis, `x` one of the x axis;
   * `levels()`: reference lines [{value, colour, label, below}]; `marker()`: {x, y} or null;
   * `gaps()`: the epochs after which the training was paused.
   */
  constructor(element, options) {
    Object.assign(
      this,
      { element, levels: () => [], marker: () => null, gaps: () => [], data: null },
      options,
    );
    this.log = storedScale(this.name) ?? options.log ?? false;
    this.outputs = options.legend ? [...options.legend.querySelectorAll(".reading")] : [];
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.create());
  }

  size() {
    return { width: this.element.clientWidth - 12, height: this.element.clientHeight };
  }

  /** `data`: [x, ...series]. Without any x the chart stays as it is. */
  show(data) {
    this.data = data;
    if (!data[0].length) return;
    if (!this.plot) {
      this.create();
    } else {
      this.plot.setData(data, !this.zoomed);
      if (this.zoomed) this.plot.redraw();
    }
    this.updateLegend();
  }

  setLog(log) {
    this.log = log;
    localStorage.setItem(`heimdall.log.${this.name}`, this.log ? "1" : "0");
    this.onLog?.();
    this.create();
  }

  get zoomed() {
    const { min, max } = this.plot.scales.x;
    const xs = this.plot.data[0];
    return (
      this.plot.select.width === 0 && min !== null && this.zoom && (min > xs[0] || max < xs.at(-1))
    );
  }

  create() {
    if (!this.data?.[0].length) return;
    this.plot?.destroy();
    this.element.replaceChildren();
    this.element.setAttribute("role", "img");
    this.element.setAttribute(
      "aria-label",
      `${this.title}; the tables on this page list the values`,
    );
    const positive = this.data.slice(1).every((one) => one.every((value) => (value ?? 1) > 0));
    const axis = {
      stroke: css("--muted"),
      font: FONT,
      ticks: { show: false },
      grid: { stroke: css("--line"), width: 1 },
    };
    this.zoom = false;
    this.plot = new uPlot(
      {
        ...this.size(),
        padding: [10, 18, 0, 0],
        legend: { show: false },
        cursor: {
          sync: this.sync ? { key: this.sync } : undefined,
          y: false,
          drag: { x: true, y: false },
          points: { size: 6 },
          bind: { dblclick: (_, __, handler) => (event) => ((this.zoom = false), handler(event)) },
        },
        scales: {
          x: { time: false, range: (_, low, high) => [low, high > low ? high : low + 1] },
          // Zero and negative values have no logarithm: use arcsinh, which is nearly one on both sides.
          y: {
            distr: this.log ? (positive ? 3 : 4) : 1,
            range: (_, low, high) => this.range(low, high, positive),
          },
        },
        axes: [
          {
            ...axis,
            size: 28,
            incrs: this.incrs,
            values: (_, ticks) => ticks.map(this.x ?? ((tick) => tick)),
          },
          {
            ...axis,
            size: 62,
            gap: 6,
            ...(this.log
              ? { splits: (_, __, low, high) => logTicks(low, high), filter: (_, splits) => splits }
              : {}),
            values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : this.tick(tick))),
          },
        ],
        series: [
          {},
          ...this.series.map((one) => ({
            stroke: css(one.colour),
            width: one.width ?? 1.6,
            dash: one.dash,
            spanGaps: one.spanGaps ?? false,
            points: {
              show: (_, __, first, last) => last - first < 40,
              size: 4,
              fill: css(one.colour),
            },
          })),
        ],
        hooks: {
          drawAxes: [(plot) => this.drawGaps(plot)],
          draw: [(plot) => this.drawLevels(plot), (plot) => this.drawMarker(plot)],
          setCursor: [() => this.updateLegend()],
          setSelect: [(plot) => plot.select.width > 0 && (this.zoom = true)],
        },
      },
      this.data,
      this.element,
    );
    this.updateLegend();
  }

  /** The range of the data and the reference lines, with a margin. */
  range(low, high, positive) {
    if (low === null) return [0, 1];
    const levels = this.zoom ? [] : this.levels().map((level) => level.value);
    const [min, max] = [Math.min(low, ...levels), Math.max(high, ...levels)];
    // The margin below has room for the label of the lowest line.
    if (this.log && positive)
      return [min / Math.max(1.05, (max / min) ** 0.1), max * Math.max(1.05, (max / min) ** 0.05)];
    const margin = 0.06 * (max - min) || Math.abs(max) * 0.1 || 1;
    return [min - margin, max + margin];
  }

  /** The legend shows the values under the cursor, or else the newest. */
  updateLegend() {
    if (!this.plot || !this.outputs.length) return;
    const at = this.plot.cursor.idx ?? this.data[0].length - 1;
    this.outputs.forEach((output, index) => {
      const text = this.format(this.data[index + 1]?.[at]);
      if (output.textContent !== text) output.textContent = text;
    });
  }

  drawGaps(plot) {
    const { ctx, bbox } = plot;
    ctx.fillStyle = css("--raised");
    for (const epoch of this.gaps()) {
      const left = Math.max(plot.valToPos(epoch, "x", true), bbox.left);
      const right = Math.min(plot.valToPos(epoch + 1, "x", true), bbox.left + bbox.width);
      if (right > bbox.left && left < bbox.left + bbox.width) {
        ctx.fillRect(left, bbox.top, Math.max(right - left, 3 * devicePixelRatio), bbox.height);
      }
    }
  }

  drawLevels(plot) {
    const { ctx, bbox } = plot;
    for (const { value, colour, label, below } of this.levels()) {
      const y = plot.valToPos(value, "y", true);
      if (!(y >= bbox.top && y <= bbox.top + bbox.height)) continue;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = css(colour);
      ctx.lineWidth = 1.4 * devicePixelRatio;
      ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      // On the left, because the curves approach these lines on the right.
      this.text(
        ctx,
        label,
        bbox.left + 6 * devicePixelRatio,
        y + (below ? 13 : -4) * devicePixelRatio,
        "left",
      );
      ctx.restore();
    }
  }

  drawMarker(plot) {
    const marker = this.marker();
    if (!marker || marker.y === null || marker.y === undefined) return;
    const { ctx, bbox } = plot;
    const [x, y] = [plot.valToPos(marker.x, "x", true), plot.valToPos(marker.y, "y", true)];
    if (x < bbox.left || x > bbox.left + bbox.width) return;
    ctx.save();
    ctx.strokeStyle = css("--accent");
    ctx.fillStyle = css("--surface");
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.setLineDash([]);
    ctx.beginPath();
    ctx.arc(x, y, 4.5 * devicePixelRatio, 0, 2 * Math.PI);
    ctx.fill();
    ctx.stroke();
    ctx.fillStyle = css("--accent");
    const right = x > bbox.left + bbox.width - 80 * devicePixelRatio;
    this.text(
      ctx,
      "best epoch",
      x + (right ? -8 : 8) * devicePixelRatio,
      y - 7 * devicePixelRatio,
      right ? "right" : "left",
    );
    ctx.restore();
  }

  text(ctx, text, x, y, align) {
    ctx.font = FONT.replace("11px", `${11 * devicePixelRatio}px`);
    ctx.textAlign = align;
    ctx.lineJoin = "round";
    const ink = ctx.fillStyle;
    ctx.setLineDash([]);
    ctx.strokeStyle = css("--surface");
    ctx.lineWidth = 3 * devicePixelRatio;
    ctx.strokeText(text, x, y);
    ctx.fillStyle = ink;
    ctx.fillText(text, x, y);
  }
}

/** 1, 2, 5, 10, ... on both sides of zero; fewer per decade, or only the powers, if that is many. */
export function decadeTicks(low, high) {
  const reach = Math.ceil(Math.log10(Math.max(Math.abs(low), Math.abs(high), 1)));
  const lowest = low > 0 ? Math.floor(Math.log10(low)) : 0;
  for (const factors of [[1, 2, 5], [1, 3], [1]]) {
    const above = [];
    for (let power = lowest; power <= reach; power += 1)
      above.push(...factors.map((factor) => factor * 10 ** power));
    const all = [...above.map((one) => -one).reverse(), 0, ...above].filter(
      (one) => one >= low && one <= high,
    );
    if (all.length <= 9 || factors.length === 1) return all;
  }
}

/** Evenly spaced ticks where fewer than three decade ticks are in range. */
function logTicks(low, high) {
  const found = decadeTicks(low, high);
  if (found.length > 2) return found;
  const rough = (high - low) / 4,
    power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => power * factor >= rough);
  const first = Math.ceil(low / step),
    last = Math.floor(high / step);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

/** Calls `draw` at most once per `interval` ms, the first time immediately. */
export function throttle(draw, interval = 100) {
  let scheduled = false,
    last = -Infinity;
  const run = () => {
    scheduled = false;
    last = performance.now();
    draw();
  };
  return () => {
    if (scheduled) return;
    scheduled = true;
    const delay = Math.max(0, last + interval - performance.now());
    setTimeout(() => requestAnimationFrame(run), delay);
  };
}
