// One job's page: the snapshot in the HTML first, then each event as it comes.

import { artifacts } from "./artifacts.js";
import { paced } from "./chart.js";
import { Columns } from "./columns.js";
import { addRow, starRow } from "./epochs.js";
import { ago, count, figure, metres, rate } from "./formatting.js";
import { steering } from "./job_actions.js";
import { charts, paintCharts } from "./jobcharts.js";
import { Line, showState } from "./live.js";
import { Pace } from "./pace.js";
import { $, freshen, paintPill, say, serverTime, setClock, single, statusLabel } from "./page.js";

let snapshot = JSON.parse($("snapshot").textContent);
const { job } = snapshot;
const training = job.kind === "training";
const api = $("job").dataset.api;
// A worker renews its lease four times before the lease expires; ask for the heartbeat once one is due.
const SILENT_AFTER = 1000 * snapshot.silent_after_seconds,
  HEARTBEAT_DUE = 250 * snapshot.lease_seconds + 1000;
const POLITE = 15000;
let newest = job.seq;
let state = snapshot.state; // derived by the server, which also sends it with each status event
let shown = state;
let latest = null,
  batch = null,
  pending = [];
let alive = Date.parse(job.heartbeat_at ?? job.created_at);
let checked = alive; // when the server last confirmed what `alive` is
let spoke = 0,
  asking = false;
setClock(snapshot.now);

const columns = new Columns(snapshot.columns, snapshot.gaps);
const pace = new Pace(snapshot.ends);
const view = training ? charts({ columns, job, yardsticks: () => snapshot.yardsticks }) : [];

/**
 * How long the worker had sent no heartbeat when the server was last reached, in ms. While the server
 * is unreachable this does not grow: silence of the connection says nothing about the worker.
 */
const silence = () => checked - alive;

/** The status from the server, or "silent" while heartbeats are missing. */
function stateNow() {
  return job.status === "running" && silence() > SILENT_AFTER ? "silent" : state;
}

function progressLine() {
  const share = `${job.progress_percent.toFixed(0)} %`;
  if (!training)
    return `${count(job.generated ?? 0)} of ${count(job.config.samples)} samples, ${share}`;
  const said = `Epoch ${count(job.current_epoch)} of ${count(job.total_epochs)}, ${share}`;
  if (job.status !== "running") return said;
  if (job.current_epoch === job.total_epochs) return `${said}, evaluating on the test set`;
  const left = pace.left(job.total_epochs - job.current_epoch, serverTime());
  const sooner = (job.best_epoch ?? 0) + job.config.patience < job.total_epochs;
  return said + (left && `, ${sooner ? "at most " : ""}about ${left} left`);
}

function paint() {
  shown = stateNow();
  paintPill($("pill").firstElementChild, shown);
  const within =
    batch && batch.epoch > job.current_epoch
      ? batch.batch / batch.total_batches / job.total_epochs
      : 0;
  $("bar").value = job.progress_percent + 100 * within;
  $("bar").className = job.status;
  if (training || "generated" in job) say($("progress"), progressLine());
  say(
    $("batch"),
    batch && job.status === "running"
      ? `batch ${batch.batch} of ${batch.total_batches}, loss ${figure(batch.loss)}`
      : "",
  );
  document.title = `${["queued", "running"].includes(job.status) ? `${job.progress_percent.toFixed(0)}% ` : ""}${document.title.replace(/^\d+% /, "")}`;
  if (training) paintTraining();
  tick();
}

function paintTraining() {
  say($("best"), metres(job.best_val_rmse));
  say($("best-epoch"), job.best_epoch ? `epoch ${job.best_epoch}` : "");
  if (latest) {
    say($("now"), metres(latest.val_rmse));
    say($("median"), metres(latest.val_median));
    say($("p95"), metres(latest.val_p95));
  }
  const { bound } = snapshot.yardsticks;
  say($("times"), bound && job.best_val_rmse ? `${figure(job.best_val_rmse / bound, 3)} ×` : "–");
  say($("bound"), bound ? `of ${metres(bound)}` : "");
  const [fast, unit] = rate(pace.each);
  $("pace").firstChild.data = `${fast} `;
  say($("pace").lastElementChild, unit);
  pending.forEach((one) => addRow(one, snapshot.table_rows));
  pending = [];
  starRow(job.best_epoch);
  paintCharts(view);
}
const repaint = paced(paint);

/** Once a second: the age of the heartbeat, and whether it is overdue. */
function tick() {
  const running = job.status === "running";
  if (training) say($("heartbeat"), running ? ago((serverTime() - alive) / 1000) : "–");
  if (running && serverTime() - alive > HEARTBEAT_DUE) checkHeartbeat();
  const silent = shown === "silent";
  $("silent").hidden = !silent;
  if (silent) {
    say(
      $("silent"),
      `No heartbeat from worker ${job.worker} for ${Math.round(silence() / 1000)} s. After ${snapshot.lease_seconds} s the job is reassigned and continues from epoch ${job.current_epoch}.`,
    );
  }
  if (stateNow() !== shown) paint();
  if (running && Date.now() - spoke > POLITE) speak();
}

async function checkHeartbeat() {
  if (asking) return;
  asking = true;
  try {
    const answer = await fetch(api);
    if (answer.ok) {
      const found = await answer.json();
      alive = Math.max(alive, Date.parse(found.heartbeat_at ?? 0));
      checked = Math.max(checked, serverTime());
      job.worker = found.worker;
    }
  } catch {
    // The connection state already shows that the server is unreachable.
  }
  setTimeout(() => (asking = false), 2500);
}

function speak() {
  spoke = Date.now();
  say($("polite"), `${statusLabel(stateNow())}. ${progressLine()}.`);
}

const fresh = single(async () => {
  const page = await freshen();
  const fetched = JSON.parse(page.getElementById("snapshot").textContent);
  snapshot = { ...snapshot, yardsticks: fetched.yardsticks };
  if (fetched.job.seq === newest) state = fetched.state;
  artifacts(api, job);
  paint();
});

const takes = {
  "training:started": ({ resumed_from_epoch: from }) => {
    pace.begin();
    if (from) columns.rest(from);
  },
  "training:status": (data) => {
    state = data.display_status || data.status; // events stored by version 0.1 have no display_status
    if (data.status === "running" && job.status === "queued") job.worker = data.actor;
    job.status = data.status;
    job.stop_requested = data.stop_requested;
  },
  "training:completed": (data) => {
    job.status = state = data.status;
    job.stop_requested = "";
    if (data.status === "completed") job.progress_percent = 100;
  },
  "training:progress": (data, at) => {
    if (data.is_best) {
      job.best_epoch = data.epoch;
      job.best_val_rmse = data.metrics.val_rmse;
    } else if (columns.add(data.epoch, data.metrics)) {
      pace.add(at);
      job.current_epoch = data.epoch;
      job.progress_percent = (100 * data.epoch) / data.total_epochs;
      latest = data.metrics;
      pending.push(data);
      if (pending.length > snapshot.table_rows) pending.shift();
    }
  },
  "training:batch_progress": (data) => (batch = data),
  "dataset:generation_progress": (data) => {
    job.generated = data.current;
    job.progress_percent = (100 * data.current) / data.total;
  },
};
const LIFE = new Set(["training:started", "training:status", "training:completed"]);

let chain = Promise.resolve();
/** Each seq once and in order: what is doubled is dropped, a hole is filled from the rows first. */
function take(frame) {
  if (frame.seq === undefined) return apply(frame);
  chain = chain
    .then(async () => {
      if (frame.seq > newest + 1) await catchUp();
      if (frame.seq === newest + 1) apply(frame);
    })
    .catch(() => {}); // the server is away: the next frame, or the next line, fills it
}

function ask() {
  const asked = chain.then(catchUp);
  chain = asked.catch(() => {});
  return asked;
}

async function catchUp() {
  let next = `${api}/events?after=${newest}`;
  while (next) {
    const answer = await fetch(next);
    if (!answer.ok) throw new Error(answer.statusText);
    const page = await answer.json();
    for (const frame of page.results) if (frame.seq === newest + 1) apply(frame);
    next =
      page.next &&
      new URL(page.next, location.href).pathname + new URL(page.next, location.href).search;
  }
}

function apply(frame) {
  if (frame.seq !== undefined) newest = frame.seq;
  if (!takes[frame.event]) return;
  const before = stateNow();
  const at = Date.parse(frame.timestamp);
  if (job.status === "running" || frame.data.status === "running") alive = Math.max(alive, at);
  takes[frame.event](frame.data, at);
  if (LIFE.has(frame.event)) {
    batch = null;
    fresh();
    if (stateNow() !== before) setTimeout(speak);
  }
  repaint();
}

steering({ api, refused: $("refusal"), toggleLog });
/** Both charts alike. */
function toggleLog() {
  const log = !view.every((chart) => chart.log);
  view.forEach((chart) => chart.setLog(log));
}
for (const button of document.querySelectorAll("[data-log]")) {
  const chart = view.find((one) => one.name === button.dataset.log);
  const show = () => button.setAttribute("aria-pressed", chart.log);
  button.hidden = false;
  button.addEventListener("click", () => chart.setLog(!chart.log));
  chart.onLog = show;
  show();
}
artifacts(api, job);
paint();
setInterval(tick, 1000);
let connections = 0;
new Line({
  socket: () => `/ws/training/${job.id}?after=${newest}`,
  stream: () => `${api}/events/stream?after=${newest}`,
  ask,
  onFrame: (frame) => {
    // After a break the parts that no event carries may be old.
    if (frame.event === "connected" && connections++) fresh();
    take(frame);
  },
  onState: showState($("live")),
});
