// A line chart whose data grows: cursors and zooms in step with its neighbours, lines across, marks.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const FONT =
  "11px Inter, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', Arial, sans-serif";
/** Ticks at whole epochs. */
export const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000];
const remembered = (name) => ({ 0: false, 1: true })[localStorage.getItem(`heimdall.log.${name}`)];

export class Chart {
  /**
   * `name`: under which the scale is remembered; `series`: [{name, colour, dash, width}];
   * `say`: a value in words; `tick`: for the axis; `x`: of the axis below; `levels()`: lines
   * across [{value, colour, label}]; `mark()`: {x, y} or null; `rests()`: epochs after which the training rested.
   */
  constructor(element, options) {
    Object.assign(
      this,
      { element, levels: () => [], mark: () => null, rests: () => [], data: null },
      options,
    );
    this.log = remembered(this.name) ?? options.log ?? false;
    this.outputs = options.legend ? [...options.legend.querySelectorAll(".reading")] : [];
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.make());
  }

  size() {
    return { width: this.element.clientWidth - 12, height: this.element.clientHeight };
  }

  /** `data`: [x, ...series]; nothing is drawn, and nothing cleared, while there is none. */
  show(data) {
    this.data = data;
    if (!data[0].length) return;
    if (!this.plot) {
      this.make();
    } else {
      this.plot.setData(data, !this.zoomed);
      if (this.zoomed) this.plot.redraw();
    }
    this.read();
  }

  setLog(log) {
    this.log = log;
    localStorage.setItem(`heimdall.log.${this.name}`, this.log ? "1" : "0");
    this.onLog?.();
    this.make();
  }

  get zoomed() {
    const { min, max } = this.plot.scales.x;
    const xs = this.plot.data[0];
    return (
      this.plot.select.width === 0 && min !== null && this.zoom && (min > xs[0] || max < xs.at(-1))
    );
  }

  make() {
    if (!this.data?.[0].length) return;
    this.plot?.destroy();
    this.element.replaceChildren();
    this.element.setAttribute("role", "img");
    this.element.setAttribute(
      "aria-label",
      `${this.title}; the tables of this page hold the numbers`,
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
          // Below zero there is no logarithm: arcsinh is one on either side.
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
          drawAxes: [(plot) => this.drawRests(plot)],
          draw: [(plot) => this.drawLevels(plot), (plot) => this.drawMark(plot)],
          setCursor: [() => this.read()],
          setSelect: [(plot) => plot.select.width > 0 && (this.zoom = true)],
        },
      },
      this.data,
      this.element,
    );
    this.read();
  }

  /** From the least to the greatest of data and lines across, with some room. */
  range(low, high, positive) {
    if (low === null) return [0, 1];
    const across = this.zoom ? [] : this.levels().map((level) => level.value);
    const [least, most] = [Math.min(low, ...across), Math.max(high, ...across)];
    // Below is room for the name of the lowest line.
    if (this.log && positive)
      return [
        least / Math.max(1.05, (most / least) ** 0.1),
        most * Math.max(1.05, (most / least) ** 0.05),
      ];
    const room = 0.06 * (most - least) || Math.abs(most) * 0.1 || 1;
    return [least - room, most + room];
  }

  /** The legend says what the cursor is on, or else the newest. */
  read() {
    if (!this.plot || !this.outputs.length) return;
    const at = this.plot.cursor.idx ?? this.data[0].length - 1;
    this.outputs.forEach((output, index) => {
      const said = this.say(this.data[index + 1]?.[at]);
      if (output.textContent !== said) output.textContent = said;
    });
  }

  drawRests(plot) {
    const { ctx, bbox } = plot;
    ctx.fillStyle = css("--raised");
    for (const epoch of this.rests()) {
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
      // On the left: the curves come down to these lines on the right.
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

  drawMark(plot) {
    const mark = this.mark();
    if (!mark || mark.y === null || mark.y === undefined) return;
    const { ctx, bbox } = plot;
    const [x, y] = [plot.valToPos(mark.x, "x", true), plot.valToPos(mark.y, "y", true)];
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

  text(ctx, said, x, y, align) {
    ctx.font = FONT.replace("11px", `${11 * devicePixelRatio}px`);
    ctx.textAlign = align;
    ctx.lineJoin = "round";
    const ink = ctx.fillStyle;
    ctx.setLineDash([]);
    ctx.strokeStyle = css("--surface");
    ctx.lineWidth = 3 * devicePixelRatio;
    ctx.strokeText(said, x, y);
    ctx.fillStyle = ink;
    ctx.fillText(said, x, y);
  }
}

/** 1, 2, 5, 10, ... on either side of nought, or only the tens where that would be many. */
export function decades(low, high) {
  const reach = Math.ceil(Math.log10(Math.max(Math.abs(low), Math.abs(high), 1)));
  const least = low > 0 ? Math.floor(Math.log10(low)) : 0;
  for (const factors of [[1, 2, 5], [1, 3], [1]]) {
    const above = [];
    for (let power = least; power <= reach; power += 1)
      above.push(...factors.map((factor) => factor * 10 ** power));
    const all = [...above.map((one) => -one).reverse(), 0, ...above].filter(
      (one) => one >= low && one <= high,
    );
    if (all.length <= 9 || factors.length === 1) return all;
  }
}

/** Where the decades are too far apart to read by, evenly spread values. */
function logTicks(low, high) {
  const found = decades(low, high);
  if (found.length > 2) return found;
  const rough = (high - low) / 4,
    power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => power * factor >= rough);
  const first = Math.ceil(low / step),
    last = Math.floor(high / step);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

/** Calls `draw` at most ten times a second, the first time at once. */
export function paced(draw, gap = 100) {
  let timer = null,
    last = -Infinity;
  const now = () => {
    timer = null;
    last = performance.now();
    draw();
  };
  return () => {
    timer ??= setTimeout(
      () => requestAnimationFrame(now),
      Math.max(0, last + gap - performance.now()),
    );
  };
}
