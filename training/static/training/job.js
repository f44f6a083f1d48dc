// One job's page: the snapshot first, then each event as it comes.

import { Chart } from "./charts.js";
import { follow, showState } from "./live.js";
import { clock, duration, figure, metres, metresShort, percent } from "./words.js";

const TABLE_ROWS = 200;
const $ = (id) => document.getElementById(id);
const snapshot = JSON.parse($("snapshot").textContent);
const job = snapshot.job;
const training = job.kind === "training";
let newest = job.seq;
let seconds = [];

const charts = training
  ? [
      new Chart($("loss-chart"), [
        { label: "train", metric: "train_loss", colour: "--train", value: (v) => figure(v), tick: (v) => figure(v, 2) },
        { label: "validation", metric: "val_loss", colour: "--val", value: (v) => figure(v) },
      ]),
      new Chart($("error-chart"), [
        { label: "train", metric: "train_rmse", colour: "--train", value: metres, tick: metresShort },
        { label: "validation", metric: "val_rmse", colour: "--val", value: metres },
        { label: "good geometry", metric: "val_rmse_good_geom", colour: "--geom", value: metres },
      ]),
    ]
  : [];

function addEpoch(epoch, metrics, isBest) {
  if (charts[0].data[0].includes(epoch)) return;
  charts.forEach((chart) => chart.add(epoch, metrics));
  $("no-epochs").hidden = true;
  const row = document.querySelector("#epochs tbody").insertRow(0);
  row.id = `epoch-${epoch}`;
  const cells = [
    [epoch], [figure(metrics.train_loss)], [figure(metrics.val_loss)], [metres(metrics.val_rmse)],
    [metres(metrics.val_median), "wide-only"], [metres(metrics.val_p95), "wide-only"],
    [metres(metrics.val_rmse_good_geom), "wide-only"], [percent(metrics.val_coverage_68), "wide-only"],
    [figure(metrics.learning_rate, 2), "wide-only"], [""],
  ];
  for (const [text, extra] of cells) {
    const cell = row.insertCell();
    cell.textContent = text;
    cell.className = `number ${extra ?? ""}`;
  }
  if (isBest) markBest(epoch);
  const body = row.parentElement;
  while (body.rows.length > TABLE_ROWS) body.deleteRow(-1);
}

function markBest(epoch) {
  document.querySelectorAll("#epochs tr.best").forEach((row) => {
    row.classList.remove("best");
    row.lastElementChild.textContent = "";
  });
  const row = $(`epoch-${epoch}`);
  if (!row) return;
  row.classList.add("best");
  row.lastElementChild.textContent = "best";
}

function timeLeft() {
  if (job.status !== "running" || seconds.length < 1) return "–";
  const sorted = [...seconds].sort((a, b) => a - b);
  return duration(sorted[Math.floor(sorted.length / 2)] * (job.total_epochs - job.current_epoch));
}

function showJob() {
  $("status").textContent = job.status;
  $("status").className = `chip ${job.status}`;
  $("asked").textContent = job.stop_requested ? `asked to ${job.stop_requested} …` : "";
  $("bar").value = job.progress_percent;
  $("percent").textContent = `${job.progress_percent.toFixed(0)} %`;
  $("left").textContent = timeLeft();
  if (training) {
    $("epoch").textContent = `${job.current_epoch} of ${job.total_epochs}`;
    $("best-epoch").textContent = job.best_epoch ?? "–";
    $("best-rmse").textContent = metres(job.best_val_rmse);
  } else {
    $("epoch").textContent = `${(job.generated ?? 0).toLocaleString()} of ${job.config.samples.toLocaleString()}`;
  }
  $("problem").hidden = !job.error_message;
  $("problem").textContent = job.error_message;
  const may = {
    pause: training && ["queued", "running"].includes(job.status) && !job.stop_requested,
    resume: ["paused", "failed"].includes(job.status),
    cancel: ["queued", "running", "paused"].includes(job.status) && job.stop_requested !== "cancel",
  };
  for (const button of document.querySelectorAll("[data-wish]")) {
    button.hidden = !may[button.dataset.wish];
  }
}

function showEvaluation(evaluation) {
  const rows = [["this model", evaluation.test], ...Object.entries(evaluation.baselines)];
  if (evaluation.bound_rmse_m !== null) {
    rows.push(["Cramér-Rao bound", { rmse_m: evaluation.bound_rmse_m }]);
  }
  const body = $("evaluated");
  body.replaceChildren();
  for (const [name, errors] of rows) {
    const row = body.insertRow();
    row.insertCell().textContent = name.replaceAll("_", " ");
    for (const key of ["mean_m", "rmse_m", "median_m", "p95_m"]) {
      const cell = row.insertCell();
      cell.className = "number";
      cell.textContent = metres(errors[key]);
    }
  }
  const { test, good_geometry: good } = evaluation;
  $("calibration").textContent =
    `${test.samples} samples, none of them seen in training. The ellipses that should hold 68 % ` +
    `hold ${percent(test.coverage_68)}; those for 95 %, ${percent(test.coverage_95)}. ` +
    `Good geometry (${good.definition}): ${good.samples} samples, RMSE ${metres(good.rmse_m)}.`;
  $("evaluation").hidden = false;
}

async function loadEvaluation() {
  const answer = await fetch(`${$("actions").dataset.api}/evaluation`);
  if (answer.ok) showEvaluation(await answer.json());
}

function words({ event, data }) {
  switch (event) {
    case "training:started":
      return data.resumed_from_epoch
        ? `went on from epoch ${data.resumed_from_epoch}`
        : training
          ? `started on ${data.train_samples.toLocaleString()} samples, ${data.val_samples.toLocaleString()} to validate`
          : `started to make ${data.dataset_size.toLocaleString()} samples`;
    case "training:completed":
      return data.error_message ? `failed: ${data.error_message}` : data.status;
    case "training:status": {
      const asked = data.stop_requested ? `, asked to ${data.stop_requested}` : "";
      return `${data.status}${asked} (${data.actor}${data.reason ? `: ${data.reason}` : ""})`;
    }
    default:
      return null;
  }
}

function logEvent(frame) {
  const text = words(frame);
  if (!text) return;
  const item = document.createElement("li");
  const when = document.createElement("time");
  when.dateTime = frame.timestamp;
  when.textContent = clock(frame.timestamp);
  item.append(when, text);
  $("log").prepend(item);
}

const takes = {
  "training:started": () => (job.error_message = ""),
  "training:status": (data) => {
    job.status = data.status;
    job.stop_requested = data.stop_requested;
    if (data.status === "queued") job.error_message = "";
  },
  "training:completed": (data) => {
    job.status = data.status;
    job.stop_requested = "";
    job.error_message = data.error_message ?? "";
    if (data.status === "completed") {
      job.progress_percent = 100;
      if (training) loadEvaluation();
    }
  },
  "training:progress": (data, frame) => {
    if (data.is_best) {
      job.best_epoch = data.epoch;
      job.best_val_rmse = data.metrics.val_rmse;
      markBest(data.epoch);
      return;
    }
    if (job.lastEpochAt) seconds.push((new Date(frame.timestamp) - job.lastEpochAt) / 1000);
    seconds = seconds.slice(-9);
    job.lastEpochAt = new Date(frame.timestamp);
    job.current_epoch = data.epoch;
    job.progress_percent = (100 * data.epoch) / data.total_epochs;
    addEpoch(data.epoch, data.metrics, false);
  },
  "training:batch_progress": (data) => {
    $("batch").textContent = `${data.batch}/${data.total_batches}, loss ${figure(data.loss, 3)}`;
    const done = data.epoch - 1 + data.batch / data.total_batches;
    if (data.epoch > job.current_epoch) $("bar").value = (100 * done) / job.total_epochs;
  },
  "dataset:generation_progress": (data) => {
    job.generated = data.current;
    job.progress_percent = (100 * data.current) / data.total;
  },
};

function take(frame) {
  if (frame.seq !== undefined) {
    if (frame.seq <= newest) return;
    newest = frame.seq;
    logEvent(frame);
  }
  takes[frame.event]?.(frame.data, frame);
  if (frame.seq !== undefined) showJob();
}

async function ask(wish, button) {
  button.disabled = true;
  try {
    const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
    const answer = await fetch(`${$("actions").dataset.api}/${wish}`, {
      method: "POST",
      headers: { "X-CSRFToken": token },
    });
    if (!answer.ok) throw new Error((await answer.json()).detail);
  } catch (error) {
    $("problem").hidden = false;
    $("problem").textContent = `Could not ${wish}: ${error.message}`;
  } finally {
    button.disabled = false;
  }
}

for (const one of snapshot.epochs) {
  addEpoch(one.epoch, one.metrics, false);
  seconds = [...seconds, one.seconds].slice(-9);
}
if (job.best_epoch) markBest(job.best_epoch);
snapshot.events.reverse().forEach(logEvent);
if (snapshot.evaluation) showEvaluation(snapshot.evaluation);
showJob();
for (const button of document.querySelectorAll("[data-wish]")) {
  button.addEventListener("click", () => ask(button.dataset.wish, button));
}
follow(() => `/ws/training/${job.id}?after=${newest}`, take, showState($("live")));
