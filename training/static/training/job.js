// The page of one job: starts from the snapshot in the HTML, then applies each event.

import { showArtifacts } from "./artifacts.js";
import { throttle } from "./chart.js";
import { Columns } from "./columns.js";
import { addRow, markBest } from "./epochs.js";
import {
  formatAge,
  formatDistance,
  formatNumber,
  formatRate,
  formatter,
  MISSING,
} from "./formatting.js";
import { enableActions } from "./job_actions.js";
import { createCharts, updateCharts } from "./job_charts.js";
import { EventConnection, showState } from "./live.js";
import {
  $,
  coalesce,
  refreshFragments,
  serverTime,
  setClock,
  setText,
  statusLabel,
  updatePill,
} from "./page.js";
import { progressText, Speed } from "./progress.js";

let snapshot = JSON.parse($("snapshot").textContent);
const { job, program } = snapshot;
const isTraining = job.kind === "training";
const api = $("job").dataset.api;
// A worker renews its lease four times before the lease expires; ask for the heartbeat once one is due.
const SILENT_AFTER = 1000 * snapshot.silent_after_seconds,
  HEARTBEAT_DUE = 250 * snapshot.lease_seconds + 1000,
  HEARTBEAT_CHECK_INTERVAL = 2500;
const ANNOUNCE_INTERVAL = 15000;
let lastSeq = job.seq;
let state = snapshot.state; // derived by the server, which also sends it with each status event
let shownState = state;
let headlineValue = snapshot.headline_value;
let latestMetrics = null,
  batch = null,
  pendingEpochs = [];
let heartbeatAt = Date.parse(job.heartbeat_at ?? job.created_at);
let confirmedAt = heartbeatAt; // when the server last confirmed what `heartbeatAt` is
let announcedAt = 0,
  checkingHeartbeat = false;
setClock(snapshot.now);

const columns = new Columns(snapshot.columns, snapshot.gaps);
const speed = new Speed(snapshot.ends);
const charts = isTraining
  ? createCharts({ program, columns, job, referenceErrors: () => snapshot.reference_errors })
  : [];

/**
 * For how long the worker had sent no heartbeat when the server was last reached, in ms. While the
 * server is unreachable this does not grow: that says nothing about the worker.
 */
const silence = () => confirmedAt - heartbeatAt;

/** The status from the server, or "silent" while heartbeats are missing. */
function currentState() {
  return job.status === "running" && silence() > SILENT_AFTER ? "silent" : state;
}

function update() {
  shownState = currentState();
  updatePill($("pill").firstElementChild, shownState);
  const withinEpoch =
    batch && batch.epoch > job.current_epoch
      ? batch.batch / batch.total_batches / job.total_epochs
      : 0;
  $("bar").value = job.progress_percent + 100 * withinEpoch;
  $("bar").className = job.status;
  if (isTraining || "generated" in job)
    setText($("progress"), progressText(job, speed, serverTime()));
  setText(
    $("batch"),
    batch && job.status === "running"
      ? `batch ${batch.batch} of ${batch.total_batches}, loss ${formatNumber(batch.loss)}`
      : "",
  );
  const percent = ["queued", "running"].includes(job.status)
    ? `${job.progress_percent.toFixed(0)}% `
    : "";
  document.title = percent + document.title.replace(/^\d+% /, "");
  if (isTraining) updateTraining();
  updateHeartbeat();
}

function updateTraining() {
  setText($("best"), formatter(program.metrics[program.headline])(headlineValue));
  setText($("best-epoch"), job.best_epoch ? `epoch ${job.best_epoch}` : "");
  if (latestMetrics) {
    for (const figure of document.querySelectorAll("[data-latest]")) {
      const name = figure.dataset.latest;
      setText(figure, formatter(program.metrics[name])(latestMetrics[name]));
    }
  }
  const { bound } = snapshot.reference_errors;
  const ratio = bound && headlineValue ? `${formatNumber(headlineValue / bound, 3)} ×` : MISSING;
  setText($("bound-ratio"), ratio);
  setText($("bound"), bound ? `bound ${formatDistance(bound)}` : "");
  const [rate, unit] = formatRate(speed.secondsPerEpoch);
  $("speed").firstChild.data = `${rate} `;
  setText($("speed").lastElementChild, unit);
  for (const epoch of pendingEpochs) addRow(epoch, program.metrics, snapshot.table_rows);
  pendingEpochs = [];
  markBest(job.best_epoch);
  updateCharts(charts);
}
const scheduleUpdate = throttle(update);

/** Once a second: the age of the heartbeat, and whether it is overdue. */
function updateHeartbeat() {
  const running = job.status === "running";
  const age = serverTime() - heartbeatAt;
  if (isTraining) setText($("heartbeat"), running ? formatAge(age / 1000) : MISSING);
  if (running && age > HEARTBEAT_DUE) checkHeartbeat();
  const silent = shownState === "silent";
  $("silent").hidden = !silent;
  if (silent) {
    setText(
      $("silent"),
      `No heartbeat from worker ${job.worker} for ${Math.round(silence() / 1000)} s. After ${snapshot.lease_seconds} s the job is reassigned and continues from epoch ${job.current_epoch}.`,
    );
  }
  if (currentState() !== shownState) update();
  if (running && Date.now() - announcedAt > ANNOUNCE_INTERVAL) announce();
}

async function checkHeartbeat() {
  if (checkingHeartbeat) return;
  checkingHeartbeat = true;
  try {
    const response = await fetch(api);
    if (response.ok) {
      const found = await response.json();
      heartbeatAt = Math.max(heartbeatAt, Date.parse(found.heartbeat_at ?? 0));
      confirmedAt = Math.max(confirmedAt, serverTime());
      job.worker = found.worker;
    }
  } catch {
    // The connection state already shows that the server is unreachable.
  }
  setTimeout(() => (checkingHeartbeat = false), HEARTBEAT_CHECK_INTERVAL);
}

/** For screen readers: the state in one sentence, at most every 15 s. */
function announce() {
  announcedAt = Date.now();
  const text = progressText(job, speed, serverTime());
  setText($("polite"), `${statusLabel(currentState())}. ${text}.`);
}

const refresh = coalesce(async () => {
  const page = await refreshFragments();
  const fetched = JSON.parse(page.getElementById("snapshot").textContent);
  snapshot = { ...snapshot, reference_errors: fetched.reference_errors };
  if (fetched.job.seq === lastSeq) state = fetched.state;
  showArtifacts(api, job);
  update();
});

const handlers = {
  "training:started": ({ resumed_from_epoch: from }) => {
    speed.reset();
    if (from) columns.addGap(from);
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
      headlineValue = data.metrics[program.headline];
    } else if (columns.add(data.epoch, data.metrics)) {
      speed.addEpochEnd(at);
      job.current_epoch = data.epoch;
      job.progress_percent = (100 * data.epoch) / data.total_epochs;
      latestMetrics = data.metrics;
      pendingEpochs.push(data);
      if (pendingEpochs.length > snapshot.table_rows) pendingEpochs.shift();
    }
  },
  "training:batch_progress": (data) => (batch = data),
  "dataset:generation_progress": (data) => {
    job.generated = data.current;
    job.progress_percent = (100 * data.current) / data.total;
  },
};
const LIFECYCLE_EVENTS = new Set(["training:started", "training:status", "training:completed"]);

let queue = Promise.resolve();
/** Applies each seq once and in order: duplicates are dropped, missing events are fetched first. */
function onFrame(frame) {
  if (frame.seq === undefined) return apply(frame);
  queue = queue
    .then(async () => {
      if (frame.seq > lastSeq + 1) await fetchMissing();
      if (frame.seq === lastSeq + 1) apply(frame);
    })
    .catch(() => {}); // the server is unreachable: the next frame or connection fetches them
}

function fetchNew() {
  const fetched = queue.then(fetchMissing);
  queue = fetched.catch(() => {});
  return fetched;
}

async function fetchMissing() {
  let next = `${api}/events?after=${lastSeq}`;
  while (next) {
    const response = await fetch(next);
    if (!response.ok) throw new Error(response.statusText);
    const page = await response.json();
    for (const frame of page.results) if (frame.seq === lastSeq + 1) apply(frame);
    next =
      page.next &&
      new URL(page.next, location.href).pathname + new URL(page.next, location.href).search;
  }
}

function apply(frame) {
  if (frame.seq !== undefined) lastSeq = frame.seq;
  if (!handlers[frame.event]) return;
  const before = currentState();
  const at = Date.parse(frame.timestamp);
  if (job.status === "running" || frame.data.status === "running")
    heartbeatAt = Math.max(heartbeatAt, at);
  handlers[frame.event](frame.data, at);
  if (LIFECYCLE_EVENTS.has(frame.event)) {
    batch = null;
    refresh();
    if (currentState() !== before) setTimeout(announce);
  }
  scheduleUpdate();
}

enableActions({ api, refusal: $("refusal"), toggleLog });
/** Gives all charts the same scale. */
function toggleLog() {
  const log = !charts.every((chart) => chart.log);
  charts.forEach((chart) => chart.setLog(log));
}
for (const button of document.querySelectorAll("[data-log]")) {
  const chart = charts.find((one) => one.name === button.dataset.log);
  const showPressed = () => button.setAttribute("aria-pressed", chart.log);
  button.hidden = false;
  button.addEventListener("click", () => chart.setLog(!chart.log));
  chart.onLog = showPressed;
  showPressed();
}
showArtifacts(api, job);
update();
setInterval(updateHeartbeat, 1000);
let connections = 0;
new EventConnection({
  socketUrl: () => `/ws/training/${job.id}?after=${lastSeq}`,
  streamUrl: () => `${api}/events/stream?after=${lastSeq}`,
  fetchNew,
  onFrame: (frame) => {
    // After an interruption the fragments that no event updates may be outdated.
    if (frame.event === "connected" && connections++) refresh();
    onFrame(frame);
  },
  onState: showState($("live")),
});
