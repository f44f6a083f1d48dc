// Resource metrics of a job's processes over time; fetched again while it runs.

import { Chart, ChartGroup, TIME_AXIS } from "./chart.js";
import { formatFixed, formatSize, MISSING } from "./formatting.js";
import { $, setText } from "./page.js";

const POINTS = 600,
  INTERVAL = 10000,
  // A longer gap between samples interrupts the curves.
  MAX_STEP = 30;
const STYLES = [
  { color: "--train" },
  { color: "--accent", dash: [5, 3] },
  { color: "--geom", dash: [2, 2] },
  { color: "--c3", dash: [8, 3] },
];
const present = (format) => (value) =>
  value === null || value === undefined ? MISSING : format(value);
/** `training/web/charts/system_charts.py` has the same formats. */
const FORMATS = {
  size: present((value) => formatSize(Math.round(value))),
  rate: present((value) => `${formatSize(Math.round(value))}/s`),
  percent: present((value) => `${formatFixed(value, 0)} %`),
  temperature: present((value) => `${formatFixed(value, 0)} °C`),
  power: present((value) => `${formatFixed(value, 0)} W`),
};
const LABELS = { rss: "RSS", pss: "PSS", percent: "use" };

function seriesLabel(name) {
  const gpu = /^gpu(\d+)_/.exec(name);
  const last = name.split("_").at(-1);
  return gpu ? `GPU ${gpu[1]}` : (LABELS[last] ?? last);
}

/** The page's system charts; `job` is updated by the page. */
export function createSystemCharts(api, job) {
  return $("system") ? new SystemCharts($("system"), api, job) : null;
}

class SystemCharts {
  constructor(root, api, job) {
    Object.assign(this, { root, api, job, charts: new Map(), group: new ChartGroup() });
    this.update();
    setInterval(() => {
      if (this.job.status === "running" && !document.hidden && root.open) this.update();
    }, INTERVAL);
    root.addEventListener("toggle", () => root.open && this.update());
  }

  async update() {
    let columns;
    try {
      const response = await fetch(`${this.api}/system?max_points=${POINTS}`);
      if (!response.ok) return;
      columns = await response.json();
    } catch {
      return; // the server is unreachable: the next update tries again
    }
    if (!columns.total) return;
    this.root.hidden = false;
    $("system-empty").hidden = true;
    const peak = formatSize(columns.peak_memory);
    const limit = columns.series.memory_limit?.findLast((one) => one !== null);
    setText($("system-summary"), `peak memory ${peak}${limit ? ` of ${formatSize(limit)}` : ""}`);
    if ($("peak-memory")) setText($("peak-memory"), peak);
    const breaks = columns.time.map(
      (at, row) =>
        row > 0 &&
        (columns.attempt[row] !== columns.attempt[row - 1] ||
          at - columns.time[row - 1] > this.longestStep(columns)),
    );
    for (const section of this.root.querySelectorAll("[data-system]"))
      this.show(section, columns, breaks);
  }

  /** Downsampled columns have longer steps. */
  longestStep({ time, total }) {
    return Math.max(MAX_STEP, (4 * (time.at(-1) - time[0])) / Math.min(total, time.length));
  }

  show(section, columns, breaks) {
    const pattern = new RegExp(`^${section.dataset.pattern}$`);
    const names = Object.keys(columns.series).filter((name) => pattern.test(name));
    section.hidden = !names.length;
    if (!names.length) return;
    const interrupted = (column) =>
      column.flatMap((value, row) => (breaks[row] ? [null, value] : [value]));
    const seconds = columns.seconds.flatMap((value, row) =>
      breaks[row] ? [(columns.seconds[row - 1] + value) / 2, value] : [value],
    );
    this.chart(section, names).show([
      seconds,
      ...names.map((name) => interrupted(columns.series[name])),
    ]);
  }

  chart(section, names) {
    const known = this.charts.get(section);
    if (known?.names.join() === names.join()) return known.chart;
    const legend = section.querySelector(".legend");
    legend.replaceChildren(...names.map((name, index) => legendItem(name, index)));
    const { system: name, title, format } = section.dataset;
    const chart = new Chart(section.querySelector(".chart"), {
      name: `system-${name}`,
      title: `${title} by time`,
      format: FORMATS[format],
      tick: FORMATS[format],
      ...TIME_AXIS,
      sync: "system",
      group: this.group,
      fromZero: true,
      series: names.map((one, index) => ({
        name: one,
        label: seriesLabel(one),
        ...STYLES[index % STYLES.length],
      })),
      legend,
    });
    this.charts.set(section, { names, chart });
    return chart;
  }
}

function legendItem(name, index) {
  const item = document.createElement("li");
  const key = document.createElement("span");
  key.className = `key k-series-${index % STYLES.length}`;
  const reading = document.createElement("span");
  reading.className = "reading";
  item.append(key, `${seriesLabel(name)} `, reading);
  return item;
}
