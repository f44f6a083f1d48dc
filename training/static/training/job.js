// The page of one job: starts from the snapshot in the HTML, then applies each event.

import { showArtifacts } from "./artifacts.js";
import { BestValues } from "./best_values.js";
import { throttle } from "./chart.js";
import { addRow, markBest } from "./epochs.js";
import {
  formatAge,
  formatCount,
  formatDistance,
  formatFixed,
  formatNumber,
  formatRate,
  formatter,
  MISSING,
} from "./formatting.js";
import { enableActions } from "./job_actions.js";
import { JobCharts } from "./job_charts.js";
import { EventConnection, showState } from "./live.js";
import { createLogPanel } from "./log_panel.js";
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
import { createSystemCharts } from "./system_charts.js";

let snapshot = JSON.parse($("snapshot").textContent);
const { job } = snapshot;
let { program } = snapshot;
const isTraining = job.kind === "training";
const api = $("job").dataset.api;
// A worker renews its lease four times before the lease expires; ask for the heartbeat once one is due.
const SILENT_AFTER = 1000 * snapshot.silent_after_seconds,
  HEARTBEAT_DUE = 250 * snapshot.lease_seconds + 1000,
  HEARTBEAT_CHECK_INTERVAL = 2500;
const ANNOUNCE_INTERVAL = 15000,
  NEW_METRICS_INTERVAL = 1000,
  BEST_VALUES_INTERVAL = 15_000;
let lastSeq = job.seq,
  lastTimestamp = snapshot.last_event_at;
/** The newest event of this page; its timestamp proves that the server has the same event. */
const cursor = () => new URLSearchParams({ after: lastSeq, timestamp: lastTimestamp });
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

const logPanel = createLogPanel(api, job);
const systemCharts = createSystemCharts(api, job);
const speed = new Speed(snapshot.ends);
const charts = isTraining
  ? new JobCharts({
      api,
      program,
      data: snapshot.columns,
      gaps: snapshot.gaps,
      job,
      referenceErrors: () => snapshot.reference_errors,
    })
  : null;
let lastEpoch = job.current_epoch;
const bestValues = new BestValues();

/**
 * For how long the worker had sent no heartbeat when the server was last reached, in ms. While the
 * server is unreachable this does not grow: that says nothing about the worker.
 */
const silence = () => confirmedAt - heartbeatAt;
/** Whether the server is reachable, so that the age of the heartbeat is known. */
let isConnected = true;

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
      ? `batch ${formatCount(batch.batch)} of ${formatCount(batch.total_batches)}, loss ${formatNumber(batch.loss)}`
      : "",
  );
  const percent = ["queued", "running"].includes(job.status)
    ? `${formatFixed(job.progress_percent, 0)} % · `
    : "";
  document.title = percent + document.title.replace(/^\d+ % · /, "");
  if (isTraining) updateTraining();
  updateHeartbeat();
}

function updateTraining() {
  if ($("best")) {
    setText($("best"), formatter(program.metrics[program.headline])(headlineValue));
    setText(
      $("best-epoch"),
      Number.isInteger(job.best_epoch) ? `epoch ${formatCount(job.best_epoch)}` : "",
    );
  }
  if (latestMetrics) {
    for (const figure of document.querySelectorAll("[data-latest]")) {
      const name = figure.dataset.latest;
      // A metric that is not reported every time keeps its last value.
      if (name in latestMetrics && program.metrics[name])
        setText(figure, formatter(program.metrics[name])(latestMetrics[name]));
    }
  }
  bestValues.show(program);
  if ($("bound-ratio")) {
    const { bound } = snapshot.reference_errors;
    const error = snapshot.test_rmse ?? headlineValue;
    const ratio = bound && error ? `${formatNumber(error / bound, 3)} ×` : MISSING;
    setText($("bound-ratio"), ratio);
    setText($("bound"), bound ? `bound ${formatDistance(bound)}` : "");
  }
  const [rate, unit] = formatRate(speed.secondsPerEpoch);
  $("speed").firstChild.data = `${rate} `;
  setText($("speed").lastElementChild, unit);
  for (const epoch of pendingEpochs) addRow(epoch, program.metrics, snapshot.table_rows);
  pendingEpochs = [];
  markBest(job.best_epoch);
  charts.update();
}
const scheduleUpdate = throttle(update);

/** Once a second: the age of the heartbeat, and whether it is overdue. */
function updateHeartbeat() {
  const running = job.status === "running";
  const age = serverTime() - heartbeatAt;
  // Without a connection the age is unknown, and the worker may be alive.
  if (isTraining) {
    setText($("heartbeat"), running && isConnected ? formatAge(age / 1000) : MISSING);
    $("heartbeat").title = isConnected ? "" : "Unknown: this page has no connection to the server.";
  }
  if (running && age > HEARTBEAT_DUE) checkHeartbeat();
  const silent = shownState === "silent";
  $("silent").hidden = !silent;
  if (silent) {
    setText(
      $("silent"),
      job.reported
        ? `No report for ${Math.round(silence() / 1000)} s. After ${snapshot.lease_seconds} s the job ends; the next report continues it.`
        : `No heartbeat from worker ${job.worker} for ${Math.round(silence() / 1000)} s. After ${snapshot.lease_seconds} s the job is reassigned and continues from epoch ${formatCount(job.current_epoch)}.`,
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

/** The server knows which charts belong to metrics that the program does not declare. */
const showNewMetrics = throttle(
  coalesce(async () => {
    const page = await refreshFragments();
    const fetched = JSON.parse(page.getElementById("snapshot").textContent);
    program = fetched.program;
    charts.setProgram(program, fetched.columns);
    for (const id of ["figures", "epochs-panel"]) {
      const newer = page.getElementById(id);
      if (newer.querySelectorAll("dt, th").length !== $(id).querySelectorAll("dt, th").length)
        $(id).replaceWith(document.adoptNode(newer));
    }
    scheduleUpdate();
  }),
  NEW_METRICS_INTERVAL,
);

/** For screen readers: the state in one sentence, at most every 15 s. */
function announce() {
  announcedAt = Date.now();
  const text = progressText(job, speed, serverTime());
  setText($("polite"), `${statusLabel(currentState())}. ${text}.`);
}

const refresh = coalesce(async () => {
  const page = await refreshFragments();
  const fetched = JSON.parse(page.getElementById("snapshot").textContent);
  const { reference_errors, test_rmse } = fetched;
  snapshot = { ...snapshot, reference_errors, test_rmse };
  $("bound-title")?.replaceWith(document.adoptNode(page.getElementById("bound-title")));
  if (fetched.job.seq === lastSeq) state = fetched.state;
  logPanel?.addAttempts(fetched.job.attempt);
  showArtifacts(api, job);
  update();
});

/** The table of last and best values comes from the server. */
const refreshBestValues = throttle(refresh, BEST_VALUES_INTERVAL);

const handlers = {
  "training:started": ({ resumed_from_epoch: from }) => {
    speed.reset();
    bestValues.reset();
    if (from) charts?.addGap(from);
  },
  "training:status": (data) => {
    state = data.display_status || data.status; // events stored by version 0.1 have no display_status
    if (data.status === "running" && job.status === "queued") job.worker = data.actor;
    if (data.cause === "claimed") job.estimated_end_at = null;
    job.status = data.status;
    job.stop_requested = data.stop_requested;
  },
  "training:completed": (data) => {
    job.status = state = data.status;
    job.stop_requested = "";
    if (data.status === "completed") job.progress_percent = 100;
    charts?.reload();
  },
  "training:progress": (data, at) => {
    // The training itself knows how far it is, and for how long it will run.
    if (data.progress_percent !== undefined) {
      job.reported_percent = job.progress_percent = data.progress_percent;
      job.estimated_end_at = data.estimated_end_at ?? null;
    }
    if (!charts.knows(data.metrics)) showNewMetrics();
    if (data.is_best) {
      job.best_epoch = data.epoch;
      headlineValue = data.metrics[program.headline] ?? null;
      bestValues.setBestEpoch(data);
      refreshBestValues();
      return;
    }
    const isNewEpoch = data.epoch > lastEpoch;
    if (!isNewEpoch && data.step === undefined) return;
    charts.add(data, at, isNewEpoch);
    bestValues.add(data, isNewEpoch);
    latestMetrics = { ...latestMetrics, ...data.metrics };
    if (!isNewEpoch) return;
    lastEpoch = job.current_epoch = data.epoch;
    speed.addEpochEnd(at);
    job.total_epochs = data.total_epochs;
    if (data.progress_percent === undefined)
      job.progress_percent = data.total_epochs ? (100 * data.epoch) / data.total_epochs : 0;
    pendingEpochs.push(data);
    if (pendingEpochs.length > snapshot.table_rows) pendingEpochs.shift();
  },
  "training:batch_progress": (data) => (batch = data),
  "training:log": (data) => logPanel?.onEvent(data),
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
  if (frame.seq !== undefined) {
    lastSeq = frame.seq;
    lastTimestamp = frame.timestamp;
  }
  if (!handlers[frame.event]) return;
  const before = currentState();
  const at = Date.parse(frame.timestamp);
  if (job.status === "running" || frame.data.status === "running")
    heartbeatAt = Math.max(heartbeatAt, at);
  handlers[frame.event](frame.data, at);
  if (LIFECYCLE_EVENTS.has(frame.event)) {
    batch = null;
    refresh();
    logPanel?.catchUp();
    systemCharts?.update();
    if (currentState() !== before) setTimeout(announce);
  }
  scheduleUpdate();
}

enableActions({ api, refusal: $("refusal"), toggleLog });
/** Gives all charts the same scale. */
function toggleLog() {
  charts?.toggleLog();
}
showArtifacts(api, job);
update();
setInterval(updateHeartbeat, 1000);
let connections = 0;
const showConnection = showState($("live"));
new EventConnection({
  socketUrl: () => `/ws/training/${job.id}?${cursor()}`,
  streamUrl: () => `${api}/events/stream?${cursor()}`,
  fetchNew,
  onFrame: (frame) => {
    // After an interruption the fragments that no event updates may be outdated.
    if (frame.event === "connected" && connections++) refresh();
    // After a restore from a backup, some of the shown epochs no longer exist.
    if (frame.event === "connected" && frame.data.reset) location.reload();
    onFrame(frame);
  },
  onState: (connection) => {
    isConnected = connection.state !== "waiting";
    showConnection(connection);
  },
});
