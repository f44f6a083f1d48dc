// The curves of several jobs in one chart, updated while the jobs train.

import { Chart, EPOCH_TICKS, TIME_AXIS, throttle } from "./chart.js";
import { zoomInAddress } from "./chart_view.js";
import { Columns } from "./columns.js";
import { formatter, tickFormatter } from "./formatting.js";
import { EventConnection, showState } from "./live.js";
import { $, addShortcuts, coalesce, refreshFragments } from "./page.js";

const payload = JSON.parse($("payload").textContent);
const { metric } = payload;
const byTime = payload.over === "time";
const runs = payload.jobs.map((job) => ({
  job,
  columns: new Columns(job.columns),
  seq: job.seq,
  lastEventAt: job.ended && Date.parse(job.ended),
}));
const isActive = (run) => ["queued", "running"].includes(run.job.status);

const chart = new Chart($("curves"), {
  name: "compare",
  group: zoomInAddress($("reset-zoom")),
  label: (index) => runs[index].job.name || runs[index].job.id.slice(0, 8),
  title: metric.title,
  log: payload.log,
  format: formatter(metric),
  tick: tickFormatter(metric),
  ...(byTime ? TIME_AXIS : { incrs: EPOCH_TICKS }),
  series: runs.map((_, index) => ({ color: `--c${index}`, spanGaps: true })),
});

function updateChart() {
  const tables = runs.map(({ columns }) => [
    byTime ? columns.seconds : columns.epoch,
    columns.series[metric.name],
  ]);
  chart.show(tables.length > 1 ? uPlot.join(tables) : tables[0]);
}
const scheduleChart = throttle(updateChart);
const refresh = coalesce(refreshFragments);
const scheduleTable = throttle(refresh, 1000);

function onFrame(frame) {
  const run = runs.find(({ job }) => job.id === frame.data?.job_id);
  if (!run || frame.seq === undefined || frame.seq <= run.seq) return;
  run.seq = frame.seq;
  run.timestamp = frame.timestamp;
  const at = Date.parse(frame.timestamp);
  if (frame.event === "training:progress" && !frame.data.is_best) {
    const seconds = run.lastEventAt === null ? 0 : (at - run.lastEventAt) / 1000;
    run.columns.add(
      frame.data.epoch,
      frame.data.metrics,
      (run.columns.seconds.at(-1) ?? 0) + seconds,
    );
    run.lastEventAt = at;
    scheduleChart();
  }
  if (frame.event === "training:started") run.lastEventAt = at;
  if (frame.data.status) run.job.status = frame.data.status;
  scheduleTable();
}

updateChart();
addShortcuts({ l: () => $("log").click() });
if (runs.some(isActive)) {
  const connection = new EventConnection({
    socketUrl: () => "/ws",
    fetchNew: refresh,
    onFrame: (frame) => {
      if (frame.event !== "connected") return onFrame(frame);
      // After a restore from a backup, some of the shown epochs no longer exist.
      if (frame.data.reset) return void location.reload();
      for (const { job, seq, timestamp } of runs)
        connection.send({ action: "subscribe", job_id: job.id, after: seq, timestamp });
    },
    onState: showState($("live")),
  });
}
