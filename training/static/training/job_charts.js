// The charts of a job as its program declares them, with a common cursor and zoom.

import { Chart, EPOCH_TICKS } from "./chart.js";
import { formatDistance, formatter, tickFormatter } from "./formatting.js";

/** By position in the chart; the CSS classes k-series-0, ... have the same colours. */
const STYLES = [
  { colour: "--train" },
  { colour: "--accent", dash: [5, 3] },
  { colour: "--geom", dash: [2, 2] },
  { colour: "--c3", dash: [8, 3] },
];

/** `program`: {metrics, charts, objective, headline}; `referenceErrors()`: as the server sends them. */
export function createCharts({ program, columns, job, referenceErrors }) {
  const levels = () => {
    const { bound, baseline, baseline_name: name } = referenceErrors();
    return [
      {
        value: bound,
        colour: "--good",
        label: `Cramér-Rao bound ${formatDistance(bound)}`,
        below: true,
      },
      { value: baseline, colour: "--warn", label: `${name} ${formatDistance(baseline)}` },
    ].filter((level) => level.value);
  };
  return program.charts.map(({ name, title, metrics, logarithmic }) => {
    const metric = program.metrics[metrics[0]];
    const marked = [program.objective, program.headline].find((one) => metrics.includes(one));
    const chart = new Chart(document.getElementById(`${name}-chart`), {
      name,
      title: `${title} by epoch`,
      log: logarithmic,
      format: formatter(metric),
      tick: tickFormatter(metric),
      sync: "epochs",
      incrs: EPOCH_TICKS,
      gaps: () => columns.gaps,
      marker: () =>
        marked && job.best_epoch
          ? { x: job.best_epoch, y: columns.at(marked, job.best_epoch) }
          : null,
      ...(metrics.includes(program.headline) ? { levels } : {}),
      series: metrics.map((one, index) => ({ name: one, ...STYLES[index % STYLES.length] })),
      legend: document.getElementById(`${name}-legend`),
    });
    chart.columns = columns;
    return chart;
  });
}

export function updateCharts(charts) {
  for (const chart of charts)
    chart.show(chart.columns.table(chart.series.map((series) => series.name)));
}
