// A line chart that grows: common cursor and zoom, reference lines, a marker, gaps, a tooltip.

import { formatDuration, MISSING } from "./formatting.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const FONT =
  "11px Inter, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', Arial, sans-serif";
/** The allowed distances of ticks on an axis of epochs, which are whole numbers. */
export const EPOCH_TICKS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000];
/** An axis of seconds. Closer ticks would have equal labels. */
export const TIME_AXIS = {
  x: (seconds) => formatDuration(seconds).replace(/ 0 (s|min|h)$/, ""),
  space: 70, // the width of a label
  incrs: [
    1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 604800,
  ],
};
const storedScale = (name) => ({ 0: false, 1: true })[localStorage.getItem(`heimdall.log.${name}`)];

/** Charts with a common zoom, and a common cursor if they have the same `sync`. */
export class ChartGroup {
  constructor(onZoom = () => {}) {
    Object.assign(this, { onZoom, charts: new Set(), zoom: null, source: null, smoothing: 0 });
  }

  /** `range`: [low, high] in values of x, or null. */
  setZoom(range) {
    this.zoom = range;
    for (const chart of this.charts) chart.applyZoom();
    this.onZoom(range);
  }
}

export class Chart {
  /**
   * `name`: the key under which the scale is stored; `series`: [{name, color, dash, width}];
   * `format`: prints a value; `tick`: prints a tick of the y axis, `x` one of the x axis;
   * `levels()`: reference lines [{value, color, label, below}]; `marker()`: {x, y} or null;
   * `gaps()`: the ranges of x in which the training was paused; `fromZero`: the y axis begins at 0;
   * `group`: charts with the same zoom; `position(index)`: names the x value for the tooltip, and
   * `label(index)` a series; `notFinite()`: [{x, text}] of values that no curve can show.
   */
  constructor(element, options) {
    Object.assign(
      this,
      { element, levels: () => [], marker: () => null, gaps: () => [], notFinite: () => [] },
      { data: null },
      { group: new ChartGroup() },
      options,
    );
    this.group.charts.add(this);
    this.log = storedScale(this.name) ?? options.log ?? false;
    this.outputs = options.legend ? [...options.legend.querySelectorAll(".reading")] : [];
    element.tabIndex = 0;
    element.addEventListener("keydown", (event) => this.onKey(event));
    this.resized = new ResizeObserver(() => this.resize());
    this.resized.observe(element);
    // Print always uses the light colors.
    for (const media of ["(prefers-color-scheme: dark)", "print"])
      matchMedia(media).addEventListener("change", () => this.create());
  }

  get zoom() {
    return this.group.zoom;
  }

  /** Removes the chart, except for its listener of the color scheme. */
  remove() {
    this.group.charts.delete(this);
    this.resized.disconnect();
    this.plot?.destroy();
    this.plot = this.data = null;
  }

  resize() {
    // A hidden chart has no size.
    if (this.plot && this.element.clientWidth) this.plot.setSize(this.size());
  }

  size() {
    return { width: this.element.clientWidth - 12, height: this.element.clientHeight };
  }

  /** `data`: [x, ...series]. Without any x the chart stays as it is. */
  show(raw) {
    const { smoothing } = this.group;
    const smoothed = raw.slice(1).map((column) => smooth(column, smoothing));
    const data = smoothing ? [raw[0], ...smoothed, ...raw.slice(1)] : raw;
    if (this.data?.length !== data.length) this.setOptions({});
    this.data = data;
    if (!data[0].length) return;
    if (!this.plot) {
      this.create();
    } else {
      this.plot.setData(data, !this.zoom);
      if (this.zoom) this.applyZoom();
    }
    this.updateLegend();
  }

  /** Changes options that apply when the chart is shown next. */
  setOptions(options) {
    Object.assign(this, options);
    this.plot?.destroy();
    this.plot = null;
  }

  setLog(log) {
    this.log = log;
    localStorage.setItem(`heimdall.log.${this.name}`, this.log ? "1" : "0");
    this.onLog?.();
    this.create();
  }

  applyZoom() {
    if (!this.plot) return;
    const [min, max] = this.zoom ?? [this.data[0][0], this.data[0].at(-1)];
    this.plot.setScale("x", { min, max });
  }

  onSelect(plot) {
    if (!plot.select.width || this.group.source !== this) return;
    const { left, width } = plot.select;
    const range = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
    for (const chart of this.group.charts)
      chart.plot?.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.group.setZoom(range);
  }

  create() {
    if (!this.data?.[0].length) return;
    this.plot?.destroy();
    this.element.replaceChildren();
    this.element.setAttribute("role", "img");
    this.element.setAttribute(
      "aria-label",
      `${this.title}; the tables on this page list the values. Keys: plus and minus zoom, arrows move, 0 resets`,
    );
    this.tip = null;
    const positive = this.data.slice(1).every((ys) => ys.every((value) => (value ?? 1) > 0));
    const axis = {
      stroke: css("--muted"),
      font: FONT,
      ticks: { show: false },
      grid: { stroke: css("--line"), width: 1 },
    };
    this.plot = new uPlot(
      {
        ...this.size(),
        padding: [10, 18, 0, 0],
        legend: { show: false },
        cursor: {
          sync: this.sync ? { key: this.sync } : undefined,
          y: false,
          drag: { x: true, y: false, setScale: false },
          points: { size: 6 },
          bind: { dblclick: () => () => this.group.setZoom(null) },
        },
        scales: {
          x: { time: false, range: xRange },
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
            ...(this.space ? { space: this.space } : {}),
            values: (_, ticks) => (this.x ? ticks.map((tick) => this.x(tick)) : ticks),
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
          ...this.series.map((series) => ({
            stroke: css(series.color),
            width: series.width ?? 1.6,
            dash: series.dash,
            spanGaps: series.spanGaps ?? false,
            points: {
              show: (_, __, first, last) => last - first < 40,
              size: 4,
              fill: css(series.color),
            },
          })),
          ...(this.group.smoothing ? this.series : []).map((series) => ({
            stroke: css(series.color),
            width: 1,
            alpha: 0.3,
            spanGaps: series.spanGaps ?? false,
            points: { show: false },
          })),
        ],
        hooks: {
          drawAxes: [(plot) => this.drawGaps(plot)],
          draw: [
            (plot) => this.drawLevels(plot),
            (plot) => this.drawMarker(plot),
            (plot) => this.drawNotFinite(plot),
          ],
          setCursor: [() => this.updateLegend(), (plot) => this.updateTip(plot)],
          setSelect: [(plot) => this.onSelect(plot)],
          ready: [(plot) => this.listen(plot)],
        },
      },
      this.data,
      this.element,
    );
    if (this.zoom) this.applyZoom();
    this.updateLegend();
  }

  /** Keys of a focused chart: + and - zoom, arrows move the zoom, 0 and Escape end it. */
  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.plot) return;
    const all = [this.data[0][0], this.data[0].at(-1)];
    const range = zoomByKey(event.key, this.zoom ?? all, all);
    if (range === undefined || (range === null && !this.zoom)) return;
    event.preventDefault();
    event.stopPropagation();
    this.group.setZoom(range);
  }

  listen(plot) {
    plot.over.addEventListener("mousedown", () => (this.group.source = this));
    plot.over.addEventListener("mouseenter", () => (this.hovered = true));
    plot.over.addEventListener("mouseleave", () => {
      this.hovered = false;
      this.updateTip(plot);
    });
  }

  /** The range of the data and the reference lines, with a margin. */
  range(low, high, positive) {
    if (low === null) return [0, 1];
    const levels = this.zoom ? [] : this.levels().map((level) => level.value);
    const [min, max] = [Math.min(low, ...levels), Math.max(high, ...levels)];
    // The margin below has room for the label of the lowest line.
    if (this.log && positive)
      return [min / Math.max(1.05, (max / min) ** 0.1), max * Math.max(1.05, (max / min) ** 0.05)];
    if (this.fromZero) return [0, 1.06 * max || 1];
    const margin = 0.06 * (max - min) || Math.abs(max) * 0.1 || 1;
    return [min - margin, max + margin];
  }

  /** The legend shows the values under the cursor, or else the newest. */
  updateLegend() {
    if (!this.plot || !this.outputs.length) return;
    const at = this.plot.cursor.idx ?? this.data[0].length - 1;
    this.outputs.forEach((output, index) => {
      const text = this.reading(index, at);
      if (output.textContent !== text) output.textContent = text;
    });
  }

  /** The value of a series at a row, or the last one before it where the series has none there. */
  reading(index, at) {
    const column = this.data[index + 1];
    let row = at;
    while (row > 0 && column?.[row] === undefined) row -= 1;
    return this.format(column?.[row]);
  }

  /** The values under the pointer; only the chart below it has a tooltip. */
  updateTip(plot) {
    const at = plot.cursor.idx;
    const shown = this.hovered && at !== null && at !== undefined;
    if (!shown) return void this.tip?.setAttribute("hidden", "");
    if (!this.tip) {
      this.tip = document.createElement("div");
      this.tip.className = "tip";
      plot.over.append(this.tip);
    }
    this.tip.hidden = false;
    const rows = this.series.flatMap((series, index) => {
      const text = this.reading(index, at);
      const label = this.label?.(index) ?? series.label ?? "";
      return text === MISSING ? [] : [tipRow(series, label, text)];
    });
    const position = document.createElement("div");
    position.textContent = this.position?.(at) ?? this.formatX(this.data[0][at]);
    this.tip.replaceChildren(position, ...rows);
    const { left } = plot.cursor;
    const wide = plot.over.clientWidth,
      own = this.tip.offsetWidth;
    this.tip.style.left = `${left + own + 14 > wide ? Math.max(0, left - own - 10) : left + 10}px`;
    this.tip.style.top = "4px";
  }

  formatX(value) {
    return this.x ? String(this.x(value)) : `epoch ${value}`;
  }

  drawGaps(plot) {
    const { ctx, bbox } = plot;
    ctx.fillStyle = css("--raised");
    for (const [low, high] of this.gaps()) {
      const left = Math.max(plot.valToPos(low, "x", true), bbox.left);
      const right = Math.min(plot.valToPos(high, "x", true), bbox.left + bbox.width);
      if (right > bbox.left && left < bbox.left + bbox.width) {
        ctx.fillRect(left, bbox.top, Math.max(right - left, 3 * devicePixelRatio), bbox.height);
      }
    }
  }

  drawLevels(plot) {
    const { ctx, bbox } = plot;
    for (const { value, color, label, below } of this.levels()) {
      const y = plot.valToPos(value, "y", true);
      if (!(y >= bbox.top && y <= bbox.top + bbox.height)) continue;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = css(color);
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

  /** A cross at the lower edge for each value that is not finite; the first ones are named. */
  drawNotFinite(plot) {
    const { ctx, bbox } = plot;
    const bottom = bbox.top + bbox.height - 6 * devicePixelRatio,
      size = 3.5 * devicePixelRatio;
    let free = bbox.left;
    ctx.save();
    ctx.setLineDash([]);
    for (const { x: at, text } of this.notFinite()) {
      const x = plot.valToPos(at, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = ctx.fillStyle = css("--bad");
      ctx.lineWidth = 2 * devicePixelRatio;
      ctx.beginPath();
      for (const side of [-1, 1]) {
        ctx.moveTo(x - size, bottom - side * size);
        ctx.lineTo(x + size, bottom + side * size);
      }
      ctx.stroke();
      const right = x > bbox.left + bbox.width - 110 * devicePixelRatio;
      if (x < free) continue;
      free = x + 120 * devicePixelRatio;
      const beside = (right ? -8 : 8) * devicePixelRatio;
      this.text(ctx, text, x + beside, bottom - size, right ? "right" : "left");
    }
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

/** The moving average with exponential weights, without its bias towards zero at the start. */
export function smooth(values, weight) {
  let sum = 0,
    rest = 1;
  return values.map((value) => {
    if (!weight || value === null || value === undefined) return value;
    sum = weight * sum + (1 - weight) * value;
    rest *= weight;
    return sum / (1 - rest);
  });
}

/**
 * The range after a key press: null for the whole range, undefined for a key without a function.
 * `range` is the current part of `all`.
 */
export function zoomByKey(key, range, all) {
  const [low, high] = range,
    width = high - low;
  const clamp = (left, size) => {
    if (size >= all[1] - all[0]) return null;
    const from = Math.min(Math.max(left, all[0]), all[1] - size);
    return [from, from + size];
  };
  switch (key) {
    case "+":
    case "=":
      return width > 0 ? clamp(low + width / 4, width / 2) : undefined;
    case "-":
      return clamp(low - width / 2, 2 * width);
    case "ArrowLeft":
      return clamp(low - width / 4, width);
    case "ArrowRight":
      return clamp(low + width / 4, width);
    case "0":
    case "Escape":
      return null;
  }
  return undefined;
}

function tipRow(series, label, text) {
  const row = document.createElement("div"),
    key = document.createElement("span"),
    value = document.createElement("b");
  key.className = "key";
  key.style.color = css(series.color);
  if (series.dash) key.style.borderTopStyle = "dashed";
  value.textContent = text;
  row.append(key, label, value);
  return row;
}

/** 1, 2, 5, 10, ... on both sides of zero; fewer per decade, or only the powers, if that is many. */
export function decadeTicks(low, high) {
  const reach = Math.ceil(Math.log10(Math.max(Math.abs(low), Math.abs(high), 1)));
  const lowest = low > 0 ? Math.floor(Math.log10(low)) : 0;
  for (const factors of [[1, 2, 5], [1, 3], [1]]) {
    const above = [];
    for (let power = lowest; power <= reach; power += 1)
      above.push(...factors.map((factor) => factor * 10 ** power));
    const all = [...above.map((value) => -value).reverse(), 0, ...above].filter(
      (value) => value >= low && value <= high,
    );
    if (all.length <= 9 || factors.length === 1) return all;
  }
}

/** For one point, uPlot would choose a wide range that often does not start at it. */
function xRange(plot, low, high) {
  const [xs] = plot.data;
  if (xs.length === 1) return [xs[0], xs[0] + 1];
  return [low, high > low ? high : low + 1];
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
