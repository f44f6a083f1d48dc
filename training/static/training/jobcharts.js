// The two charts of a training, side by side and in step.

import { Chart, WHOLE } from "./chart.js";
import { figure, metres, shortFigure, shortMetres } from "./formatting.js";

const TRAIN = { colour: "--train" },
  VAL = { colour: "--accent", dash: [5, 3] };

export function charts({ columns, job, yardsticks }) {
  const shared = { sync: "epochs", incrs: WHOLE, rests: () => columns.gaps };
  const best = (name) => () =>
    job.best_epoch ? { x: job.best_epoch, y: columns.at(name, job.best_epoch) } : null;
  const across = () => {
    const { bound, baseline, baseline_name: name } = yardsticks();
    return [
      { value: bound, colour: "--good", label: `Cramér-Rao bound ${metres(bound)}`, below: true },
      { value: baseline, colour: "--warn", label: `${name} ${metres(baseline)}` },
    ].filter((level) => level.value);
  };
  const specs = [
    {
      ...shared,
      name: "loss",
      title: "Loss over the epochs",
      say: (value) => figure(value),
      tick: shortFigure,
      mark: best("val_loss"),
      series: [
        { name: "train_loss", ...TRAIN },
        { name: "val_loss", ...VAL },
      ],
    },
    {
      ...shared,
      name: "error",
      title: "Position error over the epochs",
      say: metres,
      tick: shortMetres,
      log: true,
      mark: best("val_rmse"),
      levels: across,
      series: [
        { name: "train_rmse", ...TRAIN },
        { name: "val_rmse", ...VAL },
        { name: "val_rmse_good_geom", colour: "--geom", dash: [2, 2] },
      ],
    },
  ];
  return specs.map((spec) => {
    const chart = new Chart(document.getElementById(`${spec.name}-chart`), {
      ...spec,
      legend: document.getElementById(`${spec.name}-legend`),
    });
    chart.columns = columns;
    return chart;
  });
}

export function paintCharts(view) {
  for (const chart of view) chart.show(chart.columns.table(chart.series.map((one) => one.name)));
}
