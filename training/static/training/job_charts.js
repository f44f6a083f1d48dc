// The charts of a job: those that its program declares, and one for any other metric it reports.
// They are drawn when they come into view, and have a common cursor, zoom and axis.

import { Chart, ChartGroup, EPOCH_TICKS, TIME_AXIS } from "./chart.js";
import { ChartView } from "./chart_view.js";
import {
  formatCount,
  formatDistance,
  formatDuration,
  formatter,
  tickFormatter,
} from "./formatting.js";
import { $, setText } from "./page.js";
import { EpochAnchors, SeriesColumns, shareSteps } from "./series.js";

/** By position in the chart; the CSS classes k-series-0, ... have the same colors. */
const STYLES = [
  { color: "--train" },
  { color: "--accent", dash: [5, 3] },
  { color: "--geom", dash: [2, 2] },
  { color: "--c3", dash: [8, 3] },
  { color: "--c1" },
  { color: "--c5" },
  { color: "--c6" },
  { color: "--c4" },
];
const POINTS = 800;
// Per request: the series share the points.
const MAX_REQUESTED = 24,
  REQUEST_DELAY = 30;
// Charts of a section that are added at a time, while the page is scrolled.
const PAGE = 24;
const MARGIN = "400px 0px";
// Values that are not finite, as text.
const NAMED = 3;
const SEARCHABLE = 8,
  OPEN_SECTIONS = 4;
// Events leave out steps; the charts in view are read again so often while a training reports.
const RELOAD_INTERVAL = 10000;
const ticks = (value) => (Math.abs(value) >= 1e6 ? `${value / 1e6}M` : formatCount(value));

export class JobCharts {
  /**
   * `program`: {metrics, charts, objective, headline}; `data`: the columns of the first charts;
   * `referenceErrors()`: as the server sends them; `job` is updated by the page.
   */
  constructor({ api, program, data, gaps, job, referenceErrors }) {
    Object.assign(this, { api, program, job, referenceErrors });
    this.gaps = new Set(gaps);
    this.anchors = new EpochAnchors();
    this.byStep = data.step.some((step) => step !== null);
    this.panels = new Map(); // by the name of the chart
    this.sections = new Map();
    this.wanted = new Set();
    this.search = "";
    this.lastAt = Date.parse(job.heartbeat_at ?? job.created_at);
    this.lastSeconds = data.seconds.at(-1) ?? 0;
    this.readAnchors(data);
    this.group = new ChartGroup((range) => this.onZoom(range));
    this.view = new ChartView(this.axes());
    Object.assign(this.group, { zoom: this.view.zoom, smoothing: this.view.smoothing });
    this.observer = new IntersectionObserver((entries) => this.onVisible(entries), {
      rootMargin: MARGIN,
    });
    this.embedded = new Set(Object.keys(data.series));
    this.layOut(data);
    this.enableTools();
    setInterval(() => this.reloadStale(), RELOAD_INTERVAL);
  }

  get charts() {
    return [...this.panels.values()].flatMap(({ chart }) => (chart ? [chart] : []));
  }

  /**
   * The axes for which there are values, the default first: steps, if not all are epochs; time, if
   * the client gave no steps and most values have the same one.
   */
  axes() {
    if (!this.byStep) return ["epoch", "time"];
    if (this.sharesSteps) return this.anchors.known ? ["time", "step", "epoch"] : ["time", "step"];
    if (!this.anchors.known) return ["step", "time"];
    return this.betweenEpochs ? ["step", "epoch", "time"] : ["epoch", "step", "time"];
  }

  readAnchors(data) {
    this.sharesSteps ||= this.byStep && shareSteps(data);
    data.step.forEach((step, row) => {
      const epoch = data.epoch[row];
      if (step !== null && epoch !== null) this.anchors.add(step, epoch);
      if (step !== null && (epoch === null || epoch === data.epoch[row - 1]))
        this.betweenEpochs = true;
    });
  }

  /** Creates the missing panels of `program`, in its order. */
  layOut(data = null) {
    const bySection = Map.groupBy(this.program.charts, ({ section }) => section);
    for (const [name, charts] of bySection) {
      const section = this.sections.get(name) ?? this.addSection(name);
      section.charts = charts;
      setText(section.count, charts.length > 1 ? `${charts.length} charts` : "");
    }
    let before = $("chart-tools");
    for (const name of bySection.keys()) {
      const { root } = this.sections.get(name);
      if (before.nextElementSibling !== root) before.after(root);
      before = root;
    }
    for (const section of this.sections.values()) this.fill(section, data);
    // All charts of a section may have moved to another one, as those of train do once val appears.
    for (const [name, { root }] of this.sections)
      if (!bySection.has(name)) root.remove(), this.sections.delete(name);
    if (this.program.charts.length) $("no-charts")?.remove();
    this.showTools();
  }

  addSection(name) {
    let root = document.querySelector(`[data-section="${CSS.escape(name)}"]`);
    if (!root) {
      root = document.createElement(name ? "details" : "div");
      root.className = "chart-section";
      root.dataset.section = name;
      const box = document.createElement("div");
      box.className = "two";
      root.append(box);
      if (name) {
        const summary = document.createElement("summary"),
          title = document.createElement("h2");
        title.textContent = name;
        summary.append(title);
        root.prepend(summary);
        root.open = this.sections.size < OPEN_SECTIONS;
      }
    }
    const box = root.querySelector(".two");
    const count = document.createElement("span");
    count.className = "muted";
    if (name) root.firstElementChild.append(count);
    const stored = localStorage.getItem(`heimdall.charts.open.${name}`);
    if (name && stored) root.open = stored === "1";
    const section = { name, root, box, count, charts: [], shown: PAGE };
    if (name)
      root.addEventListener("toggle", () => {
        if (!this.search)
          localStorage.setItem(`heimdall.charts.open.${name}`, root.open ? "1" : "0");
        this.fill(section);
      });
    section.end = document.createElement("div");
    section.end.section = section;
    root.append(section.end);
    this.observer.observe(section.end);
    this.sections.set(name, section);
    return section;
  }

  matches({ title, metrics }) {
    const words = this.search.toLowerCase().split(/\s+/).filter(Boolean);
    const text = `${title} ${metrics.join(" ")}`.toLowerCase();
    return words.every((word) => text.includes(word));
  }

  /** Creates panels up to as many as the section shows, in order; hides those not searched for. */
  fill(section, data = null) {
    const found = section.charts.filter((chart) => this.matches(chart));
    section.root.hidden = !found.length;
    if (section.root.open === false) return;
    const shown = found.slice(0, section.shown);
    const visible = new Set(shown.map(({ name }) => name));
    for (const { name } of section.charts) {
      const panel = this.panels.get(name);
      if (panel) panel.element.hidden = !visible.has(name);
    }
    let before = null;
    for (const chart of shown) {
      const panel = this.addPanel(chart, data);
      const next = before ? before.nextElementSibling : section.box.firstElementChild;
      if (panel.element !== next) section.box.insertBefore(panel.element, next);
      before = panel.element;
    }
    section.end.hidden = shown.length === found.length;
    // It may still be in view: the observer reports only changes.
    this.observer.unobserve(section.end);
    if (!section.end.hidden) this.observer.observe(section.end);
  }

  addPanel(chart, data) {
    const known = this.panels.get(chart.name);
    if (known?.metrics.join("\n") === chart.metrics.join("\n")) return known;
    const found = known?.element ?? document.querySelector(`[data-chart="${chart.name}"]`);
    const element = found ?? this.createElement(chart);
    known?.chart?.remove();
    const columns = new SeriesColumns(chart.metrics, this.byStep);
    const panel = { ...chart, element, columns, chart: null, loaded: false, visible: false };
    element.panel = panel;
    this.panels.set(chart.name, panel);
    if (found && known) this.describe(panel);
    if (data && chart.metrics.every((name) => this.embedded.has(name))) {
      columns.load(data);
      panel.loaded = true;
      this.draw(panel);
    }
    // Events that came while the definitions were read are in the next answer.
    panel.stale = this.byStep;
    this.enableLog(panel);
    this.observer.unobserve(element);
    this.observer.observe(element);
    return panel;
  }

  createElement({ name, title, metrics }) {
    const element = $("chart-panel").content.firstElementChild.cloneNode(true);
    element.dataset.chart = name;
    element.setAttribute("aria-labelledby", `${name}-title`);
    element.querySelector("h2").id = `${name}-title`;
    element.querySelector(".legend").id = `${name}-legend`;
    element.querySelector(".chart").id = `${name}-chart`;
    element.querySelector("button").dataset.log = name;
    this.describe({ element, title, metrics });
    return element;
  }

  describe({ element, title, metrics }) {
    setText(element.querySelector("h2"), title);
    const items = metrics.map((name, index) => {
      const item = document.createElement("li"),
        key = document.createElement("span"),
        reading = document.createElement("span");
      if (index > 1) item.className = "wide-only";
      key.className = `key k-series-${index % STYLES.length}`;
      reading.className = "reading";
      const { label } = this.program.metrics[name];
      const isAlone = metrics.length === 1 && label === title;
      item.append(key, isAlone ? "" : `${label} `, reading);
      return item;
    });
    element.querySelector(".legend").replaceChildren(...items);
  }

  createChart(panel) {
    const { element, columns, name, title, metrics, logarithmic } = panel;
    const metric = this.program.metrics[metrics[0]];
    const marked = [this.program.objective, this.program.headline].find((name) =>
      metrics.includes(name),
    );
    const chart = new Chart(element.querySelector(".chart"), {
      name,
      log: logarithmic,
      format: formatter(metric),
      tick: tickFormatter(metric),
      sync: "job",
      group: this.group,
      gaps: () => panel.breaks ?? [],
      marker: () => this.bestPoint(panel, marked),
      notFinite: () => panel.notFinite,
      position: (index) => this.position(panel, index),
      ...(metrics.includes(this.program.headline) ? { levels: () => this.levels() } : {}),
      series: metrics.map((name, index) => ({
        name,
        label: this.program.metrics[name].label,
        ...STYLES[index % STYLES.length],
      })),
      legend: element.querySelector(".legend"),
      ...this.axisOptions(title),
    });
    chart.onLog = () => element.querySelector("[data-log]").setAttribute("aria-pressed", chart.log);
    chart.onLog();
    chart.columns = columns;
    return chart;
  }

  axisOptions(title) {
    const { axis } = this.view;
    return {
      title: `${title} by ${axis}`,
      incrs: EPOCH_TICKS,
      ...{ step: { x: ticks }, time: TIME_AXIS }[axis],
    };
  }

  levels() {
    const { bound, baseline, baseline_name: name } = this.referenceErrors();
    return [
      {
        value: bound,
        color: "--good",
        label: `Cramér-Rao bound ${formatDistance(bound)}`,
        below: true,
      },
      { value: baseline, color: "--warn", label: `${name} ${formatDistance(baseline)}` },
    ].filter((level) => level.value);
  }

  bestPoint({ columns }, metric) {
    const epoch = this.job.best_epoch;
    if (!metric || !Number.isInteger(epoch)) return null;
    const row = columns.epoch.indexOf(epoch);
    if (row < 0) return null;
    return { x: columns.xs(this.view.axis, this.anchors)[row], y: columns.series[metric][row] };
  }

  /** The tooltip of a row: its step, epoch and time, as far as they are known. */
  position({ columns, rows }, index) {
    const row = rows[index];
    const step = columns.byStep ? columns.step[row] : null;
    const epoch = columns.byStep ? this.anchors.at(step) : columns.epoch[row];
    return [
      step === null ? "" : `step ${formatCount(step)}`,
      epoch === null ? "" : `epoch ${formatCount(Math.floor(epoch))}`,
      formatDuration(columns.seconds[row]),
    ]
      .filter(Boolean)
      .join(" · ");
  }

  draw(panel) {
    const { columns, element } = panel;
    panel.dirty = true;
    this.showNotFinite(panel);
    if (!columns.hasValues || !element.querySelector(".chart").clientWidth) return;
    panel.dirty = false;
    const { axis } = this.view;
    const { data, rows, breaks } = columns.table(axis, this.anchors, this.gaps);
    Object.assign(panel, { rows, breaks });
    panel.chart ??= this.createChart(panel);
    if (panel.axis !== axis) panel.chart.setOptions(this.axisOptions(panel.title));
    panel.axis = axis;
    panel.chart.show(data);
  }

  /** Says below a chart which of its values are not finite. */
  showNotFinite(panel) {
    const { columns, element, metrics } = panel;
    const found = columns.listNotFinite(this.view.axis, this.anchors).map((one) => ({
      ...one,
      text: `${one.text} at step ${formatCount(one.step)}`,
    }));
    panel.notFinite = found;
    let line = element.querySelector(".not-finite");
    if (!found.length) return void line?.remove();
    if (!line) {
      line = document.createElement("p");
      line.className = "not-finite";
      element.append(line);
    }
    const texts = found
      .slice(0, NAMED)
      .map(({ name, text }) =>
        metrics.length > 1 ? `${this.program.metrics[name].label}: ${text}` : text,
      );
    const more = found.length > NAMED ? ` and ${formatCount(found.length - NAMED)} more` : "";
    setText(line, `${texts.join(", ")}${more}`);
  }

  /** Draws the charts in view again. */
  update() {
    for (const panel of this.panels.values()) {
      panel.dirty = true;
      if (panel.visible || panel.chart?.hovered) this.draw(panel);
    }
  }

  onVisible(entries) {
    for (const { target, isIntersecting } of entries) {
      if (target.section) {
        if (!isIntersecting || target.hidden) continue;
        target.section.shown += PAGE;
        this.fill(target.section);
        continue;
      }
      const { panel } = target;
      panel.visible = isIntersecting;
      if (!isIntersecting) continue;
      if (!panel.loaded) this.request(panel);
      else if (panel.dirty || !panel.chart) this.draw(panel);
    }
  }

  request(panel) {
    this.wanted.add(panel);
    this.requestTimer ??= setTimeout(() => {
      this.requestTimer = null;
      this.read();
    }, REQUEST_DELAY);
  }

  /** Reads the values of the panels that wait for them, some at a time. */
  async read() {
    if (this.reading) return;
    this.reading = true;
    while (this.wanted.size) {
      const panels = [];
      let count = 0;
      for (const panel of this.wanted) {
        if (panels.length && count + panel.metrics.length > MAX_REQUESTED) break;
        panels.push(panel);
        count += panel.metrics.length;
      }
      for (const panel of panels) this.wanted.delete(panel);
      try {
        const query = new URLSearchParams({ max_points: POINTS, repeats: 1 });
        for (const name of new Set(panels.flatMap(({ metrics }) => metrics)))
          query.append("series", name);
        const response = await fetch(`${this.api}/metrics?${query}`);
        if (!response.ok) throw new Error(response.statusText);
        this.load(panels, await response.json());
      } catch {
        // The server is unreachable: the next reload tries again.
        for (const panel of panels) panel.stale = true;
      }
    }
    this.reading = false;
  }

  load(panels, data) {
    this.readAnchors(data);
    this.byStep ||= data.step.some((step) => step !== null);
    for (const panel of panels) {
      const newest = panel.columns.key.at(-1);
      panel.columns.byStep = this.byStep;
      panel.columns.load(data);
      // Events that came since are newer than the answer: they come with the next one.
      panel.stale = newest > (panel.columns.key.at(-1) ?? -Infinity);
      panel.loaded = true;
      this.draw(panel);
    }
    this.showTools();
  }

  reloadStale() {
    if (document.hidden) return;
    for (const panel of this.panels.values()) if (panel.stale && panel.visible) this.request(panel);
  }

  /** Reads all charts in view, and the others when they come into view. */
  reload() {
    for (const panel of this.panels.values()) {
      if (!this.byStep) continue;
      panel.loaded = false;
      if (panel.visible) this.request(panel);
    }
  }

  /** An event; `isEpoch`: whether it is the first one of its epoch. */
  add(data, at, isEpoch) {
    const seconds = this.lastSeconds + Math.max(0, (at - this.lastAt) / 1000);
    Object.assign(this, { lastSeconds: seconds, lastAt: at });
    const { step, metrics } = data;
    this.hasNewerData = Boolean(this.group.zoom);
    if (step !== undefined) this.byStep = true;
    if (step !== undefined && isEpoch) this.anchors.add(step, data.epoch);
    if (step !== undefined && !isEpoch) this.betweenEpochs = true;
    const epoch = isEpoch || step === undefined ? data.epoch : null;
    for (const panel of this.panels.values()) {
      if (!panel.metrics.some((name) => name in metrics)) continue;
      panel.columns.byStep = this.byStep;
      panel.dirty = true;
      if (!panel.loaded) continue;
      panel.columns.add({ step, epoch, seconds }, metrics);
      if (this.byStep) panel.stale = true;
    }
    this.showTools();
  }

  addGap(epoch) {
    this.gaps.add(epoch);
  }

  knows(metrics) {
    return Object.keys(metrics).every((name) => name in this.program.metrics);
  }

  /** More metrics were reported: adds their charts in place. */
  setProgram(program, data) {
    this.program = program;
    this.byStep ||= data.step.some((step) => step !== null);
    this.readAnchors(data);
    this.embedded = new Set(Object.keys(data.series));
    this.layOut(data);
  }

  enableLog(panel) {
    const button = panel.element.querySelector("[data-log]");
    button.hidden = false;
    if (panel.chart) button.setAttribute("aria-pressed", panel.chart.log);
    button.onclick = () => panel.chart?.setLog(!panel.chart.log);
  }

  /** Gives all charts the same scale. */
  toggleLog() {
    const log = !this.charts.every((chart) => chart.log);
    for (const chart of this.charts) chart.setLog(log);
  }

  enableTools() {
    $("chart-x").addEventListener("change", ({ target }) => {
      this.view.choose(target.value);
      this.showTools();
    });
    const slider = $("smoothing");
    slider.value = this.view.smoothing;
    const showWeight = () => setText($("smoothing-value"), Number(slider.value).toFixed(2));
    showWeight();
    slider.addEventListener("input", () => {
      showWeight();
      this.group.smoothing = Number(slider.value);
      this.update();
    });
    slider.addEventListener("change", () => this.view.setSmoothing(Number(slider.value)));
    $("reset-zoom").addEventListener("click", () => this.group.setZoom(null));
    $("chart-search").addEventListener("input", ({ target }) => {
      this.search = target.value;
      for (const section of this.sections.values()) {
        section.shown = PAGE;
        if (this.search && section.root.open === false) section.root.open = true;
        this.fill(section);
      }
      const found = this.program.charts.filter((chart) => this.matches(chart)).length;
      const text = `${formatCount(found)} of ${formatCount(this.program.charts.length)} charts`;
      setText($("chart-matches"), this.search ? text : "");
    });
  }

  showTools() {
    const axes = this.axes();
    this.view.available = axes;
    if (this.shownAxis !== this.view.axis) {
      if (this.shownAxis) this.group.zoom = this.view.zoom = null;
      this.shownAxis = this.view.axis;
      this.update();
    }
    $("chart-tools").hidden = !this.program.charts.length;
    for (const input of $("chart-x").querySelectorAll("input")) {
      input.closest("label").hidden = !axes.includes(input.value);
      input.checked = input.value === this.view.axis;
    }
    $("chart-search-label").hidden = this.program.charts.length <= SEARCHABLE;
    $("reset-zoom").hidden = !this.group.zoom;
    setText($("reset-zoom"), this.hasNewerData ? "Reset zoom (newer data)" : "Reset zoom");
  }

  onZoom(range) {
    this.hasNewerData = false;
    this.view.setZoom(range);
    this.showTools();
  }
}
