// The list of sweeps, or one sweep whose trials start, train and end while the page is open.

import { Chart, EPOCH_TICKS, throttle } from "./chart.js";
import { zoomInAddress } from "./chart_view.js";
import { Columns } from "./columns.js";
import { formatter, tickFormatter } from "./formatting.js";
import { EventConnection, showState } from "./live.js";
import { $, addShortcuts, coalesce, delay, refreshFragments, updateAges } from "./page.js";

const REFRESH_INTERVAL = 1000;
const MAX_CURVES = 8;
let payload = $("payload") && JSON.parse($("payload").textContent);
let trials = new Set(),
  runs = [];

function setPayload(fetched) {
  payload = fetched;
  trials = new Set(payload.trials);
  const previous = new Map(runs.map((run) => [run.id, run]));
  runs = payload.runs.map((run) => {
    const current = previous.get(run.id);
    // Events that came over the socket may be newer than the page that was fetched.
    return current && current.seq >= run.seq
      ? current
      : { ...run, columns: new Columns(run.columns) };
  });
}

const chart =
  payload &&
  new Chart($("curves"), {
    name: "sweep",
    group: zoomInAddress($("reset-zoom")),
    label: (index) => runs[index]?.name,
    title: payload.metric.title,
    format: formatter(payload.metric),
    tick: tickFormatter(payload.metric),
    incrs: EPOCH_TICKS,
    series: Array.from({ length: MAX_CURVES }, (_, index) => ({
      color: `--c${index}`,
      spanGaps: true,
    })),
  });

function updateChart() {
  if (!runs.some(({ columns }) => columns.last)) return;
  const tables = runs.map(({ columns }) => [columns.epoch, columns.series[payload.metric.name]]);
  const joined = tables.length > 1 ? uPlot.join(tables) : tables[0];
  // The chart always has eight series; unused ones are empty.
  chart.show([
    ...joined,
    ...Array.from({ length: MAX_CURVES - runs.length }, () => joined[0].map(() => null)),
  ]);
}
const scheduleChart = throttle(updateChart);

const refresh = coalesce(async () => {
  const page = await refreshFragments();
  updateAges();
  const newer = page.getElementById("payload");
  if (!newer) return;
  setPayload(JSON.parse(newer.textContent));
  scheduleChart();
});
const scheduleRefresh = delay(refresh, REFRESH_INTERVAL);

function onFrame(frame) {
  if (frame.event === "connected") return void refresh();
  const id = frame.data?.job_id;
  if (!id) return;
  if (!payload) return void (frame.event === "training:progress" || scheduleRefresh());
  // The first event of an unknown job: it may be the next trial.
  if (!trials.has(id)) return void (frame.seq === 1 && scheduleRefresh());
  const run = runs.find((trial) => trial.id === id);
  if (run && frame.seq > run.seq) {
    run.seq = frame.seq;
    if (frame.event === "training:progress" && !frame.data.is_best) {
      run.columns.add(frame.data.epoch, frame.data.metrics, 0);
      scheduleChart();
    }
  }
  scheduleRefresh();
}

if (payload) {
  setPayload(payload);
  updateChart();
}
addShortcuts({ l: () => chart?.setLog(!chart.log) });
if (!payload || payload.active)
  new EventConnection({
    socketUrl: () => "/ws",
    fetchNew: async () => refresh(),
    onFrame,
    onState: showState($("live")),
  });
