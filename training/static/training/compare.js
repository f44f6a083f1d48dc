// Several jobs' curves in one chart, each growing as its job trains.

import { Chart, paced, WHOLE } from "./chart.js";
import { Columns } from "./columns.js";
import { duration, figure, metres, shortFigure, shortMetres } from "./formatting.js";
import { Line, showState } from "./live.js";
import { $, freshen, keys, single } from "./page.js";

const told = JSON.parse($("told").textContent);
const inMetres = !told.metric.endsWith("loss");
const byTime = told.over === "time";
const runs = told.jobs.map((job) => ({
  job,
  columns: new Columns(job.columns),
  seq: job.seq,
  at: job.ended && Date.parse(job.ended),
}));
const active = (run) => ["queued", "running"].includes(run.job.status);

const chart = new Chart($("curves"), {
  name: "compare",
  title: told.title,
  log: told.log,
  say: inMetres ? metres : (value) => figure(value),
  tick: inMetres ? shortMetres : shortFigure,
  x: byTime ? (seconds) => duration(seconds) : undefined,
  incrs: byTime ? undefined : WHOLE,
  series: runs.map((_, index) => ({ colour: `--c${index}`, spanGaps: true })),
});

function paint() {
  const tables = runs.map(({ columns }) => [
    byTime ? columns.seconds : columns.epoch,
    columns.series[told.metric],
  ]);
  chart.show(tables.length > 1 ? uPlot.join(tables) : tables[0]);
}
const repaint = paced(paint);
const fresh = single(freshen);
const table = paced(fresh, 1000);

function take(frame) {
  const run = runs.find((one) => one.job.id === frame.data?.job_id);
  if (!run || frame.seq === undefined || frame.seq <= run.seq) return;
  run.seq = frame.seq;
  const at = Date.parse(frame.timestamp);
  if (frame.event === "training:progress" && !frame.data.is_best) {
    const spent = run.at === null ? 0 : (at - run.at) / 1000;
    run.columns.add(
      frame.data.epoch,
      frame.data.metrics,
      (run.columns.seconds.at(-1) ?? 0) + spent,
    );
    run.at = at;
    repaint();
  }
  if (frame.event === "training:started") run.at = at;
  if (frame.data.status) run.job.status = frame.data.status;
  table();
}

paint();
keys({ l: () => $("log").click() });
if (runs.some(active)) {
  const line = new Line({
    socket: () => "/ws",
    ask: fresh,
    onFrame: (frame) =>
      frame.event === "connected"
        ? runs.forEach((run) =>
            line.tell({ action: "subscribe", job_id: run.job.id, after: run.seq }),
          )
        : take(frame),
    onState: showState($("live")),
  });
}
