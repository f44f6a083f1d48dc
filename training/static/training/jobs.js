// The list of jobs, on the pages and in the admin: updates each row while its job runs.

import { throttle } from "./chart.js";
import { formatter } from "./formatting.js";
import { EventConnection, showState } from "./live.js";
import { $, coalesce, delay, refreshFragments, setText, updateAges, updatePill } from "./page.js";
import { drawSparkline, MAX_POINTS } from "./sparkline.js";

const MAX_COMPARED = 8;
const rows = new Map(
  [...document.querySelectorAll("[data-job]")].map((row) => [row.dataset.job, row.closest("tr")]),
);
const knownJobs = new Set(rows.keys());
const pending = new Map();
let newJobs = 0;
let buffer = null; // the frames that come while the rows are fetched

function field(row, name) {
  return row.querySelector(`[data-field=${name}]`);
}

function addToSparkline(row, value) {
  const cell = field(row, "sparkline");
  if (!cell) return;
  cell.values ??= (cell.dataset.values || "").split(",").filter(Boolean).map(Number);
  cell.values.push(value);
  if (cell.values.length > MAX_POINTS)
    cell.values = cell.values.filter((_, index) => index % 2 === 1);
}

function setProgress(row, percent) {
  const bar = row.querySelector("progress");
  if (bar) bar.value = percent;
  setText(field(row, "percent"), `${percent.toFixed(0)} %`);
}

/** Shows the newest update of each kind, row by row. */
function updateRows() {
  for (const [id, update] of pending) {
    const row = rows.get(id);
    if (update.status) {
      // Events stored by version 0.1 have no display_status.
      const state = update.status.display_status || update.status.status;
      row.dataset.state = state;
      updatePill(field(row, "state"), state);
      row.querySelector("progress")?.setAttribute("class", update.status.status);
      if (update.status.status === "completed") setProgress(row, 100);
    }
    if (update.progress) {
      const { epoch, total_epochs: total } = update.progress;
      setProgress(row, (100 * epoch) / total);
      setText(field(row, "epoch"), `${epoch} / ${total}`);
      const cell = field(row, "sparkline");
      if (cell?.values) drawSparkline(cell.querySelector("svg"), cell.values);
    }
    if (update.best) {
      const cell = field(row, "best");
      if (cell) setText(cell, formatter(cell.dataset)(update.best[cell.dataset.metric]));
    }
    if (update.generation) {
      const { current, total } = update.generation;
      setProgress(row, (100 * current) / total);
      setText(field(row, "epoch"), `${current} / ${total}`);
    }
  }
  pending.clear();
  setText(
    $("fresh")?.firstElementChild,
    `${newJobs} new ${newJobs === 1 ? "job" : "jobs"}. Refresh`,
  );
  if ($("fresh")) $("fresh").hidden = !newJobs;
}
const scheduleRows = throttle(updateRows);
const scheduleCounts = delay(coalesce(refreshFragments), 1000);

function onFrame(frame) {
  buffer?.push(frame);
  const { data } = frame,
    id = data?.job_id;
  if (!id) return;
  if (frame.event === "training:status" || frame.event === "training:completed") scheduleCounts();
  if (!rows.has(id)) {
    if (!knownJobs.has(id) && frame.seq === 1) {
      knownJobs.add(id);
      newJobs += 1;
      scheduleRows();
    }
    return;
  }
  const row = rows.get(id);
  const update = pending.get(id) ?? {};
  if (data.status) update.status = data;
  if (frame.event === "training:progress") {
    if (data.is_best) update.best = data.metrics;
    else {
      update.progress = data;
      addToSparkline(row, data.metrics[field(row, "best")?.dataset.metric]);
    }
  }
  if (frame.event === "dataset:generation_progress") update.generation = data;
  pending.set(id, update);
  scheduleRows();
}

/**
 * Fetches the rows: when the connection opens (earlier events went to no connection), after an
 * interruption, and when polling. Frames that come during the fetch are applied to the new rows again.
 */
async function refreshRows() {
  buffer = [];
  const page = await refreshFragments().catch((error) => {
    buffer = null;
    throw error;
  });
  for (const [id, row] of rows) {
    const newer = page.querySelector(`[data-job="${id}"]`)?.closest("tr");
    if (!newer) continue;
    const checked = row.querySelector("input[type=checkbox]")?.checked;
    row.replaceWith(newer);
    rows.set(id, newer);
    if (checked) newer.querySelector("input[type=checkbox]").checked = true;
  }
  updateAges();
  const frames = buffer;
  buffer = null;
  frames.forEach(onFrame);
}

function updateSelection() {
  const { length } = document.querySelectorAll("#jobs input[type=checkbox]:checked");
  $("compare").disabled = length < 2 || length > MAX_COMPARED;
  let text = `${length} selected`;
  if (length === 0) text = `Select 2 to ${MAX_COMPARED} jobs`;
  else if (length === 1) text = "1 selected, select one more";
  else if (length > MAX_COMPARED) text = `Up to ${MAX_COMPARED} jobs`;
  setText($("chosen"), text);
}
if ($("compare")) {
  updateSelection();
  document.addEventListener("change", updateSelection);
}

if (new URLSearchParams(location.search).get("focus") === "search") $("search")?.focus();
const refresh = coalesce(refreshRows);
new EventConnection({
  socketUrl: () => "/ws",
  fetchNew: refreshRows,
  onFrame: (frame) => (frame.event === "connected" ? refresh() : onFrame(frame)),
  onState: $("live") ? showState($("live")) : () => {},
});
