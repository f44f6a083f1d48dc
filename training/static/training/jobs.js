// The list of jobs, on the pages and in the admin: updates each row while its job runs.

import { throttle } from "./chart.js";
import { formatCount, formatFixed, formatter } from "./formatting.js";
import { EventConnection, showState } from "./live.js";
import {
  $,
  announce,
  coalesce,
  delay,
  refreshFragments,
  setText,
  updateAges,
  updatePill,
} from "./page.js";
import { drawSparkline, MAX_POINTS } from "./sparkline.js";

const MAX_COMPARED = 8;
const rows = new Map(
  [...document.querySelectorAll("[data-job]")].map((row) => [row.dataset.job, row.closest("tr")]),
);
const pending = new Map();
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
  if (bar) bar.value = percent ?? 0;
  setText(field(row, "percent"), percent === null ? "" : `${formatFixed(percent, 0)} %`);
}

/** A reported job may not know how many epochs it will have. */
const countOf = (done, total) =>
  total ? `${formatCount(done)} / ${formatCount(total)}` : formatCount(done);

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
      const { epoch, total_epochs: total, progress_percent: percent } = update.progress;
      setProgress(row, percent ?? (total ? (100 * epoch) / total : null));
      setText(field(row, "epoch"), countOf(epoch, total));
      const cell = field(row, "sparkline");
      if (cell?.values) drawSparkline(cell.querySelector("svg"), cell.values);
    }
    if (update.best) {
      const cell = field(row, "best");
      const value = update.best[cell?.dataset.metric];
      if (cell && value !== undefined) {
        setText(cell, formatter(cell.dataset)(value));
        setText(cell.parentElement.querySelector(".metric-name"), cell.dataset.label);
      }
    }
    for (const cell of row.querySelectorAll("[data-live-metric]")) {
      const value = update.metrics?.[cell.dataset.liveMetric];
      if (value !== undefined) setText(cell, formatter(cell.dataset)(value));
    }
    if (update.generation) {
      const { current, total } = update.generation;
      setProgress(row, (100 * current) / total);
      setText(field(row, "epoch"), countOf(current, total));
    }
  }
  pending.clear();
}
const scheduleRows = throttle(updateRows);
const scheduleCounts = delay(
  coalesce(async () => announceNewRows(await refreshFragments())),
  1000,
);

const rowId = (row) => row.dataset.job ?? row.dataset.sweep;

/** The rows above the first one that is on this page: jobs that match its filters and came later. */
function announceNewRows(fetched) {
  const notice = $("fresh");
  const known = new Set([...document.querySelectorAll("#jobs > tr")].map(rowId));
  const newest = [...fetched.querySelectorAll("#jobs > tr")].map(rowId);
  const first = newest.findIndex((id) => known.has(id));
  const count = first < 0 ? newest.length : first;
  if (!notice) return;
  const text = `${count} new ${count === 1 ? "job" : "jobs"}.`;
  if (count) announce(text);
  setText(notice.firstElementChild, `${text} Refresh`);
  notice.hidden = count === 0;
}

function onFrame(frame) {
  buffer?.push(frame);
  const { data } = frame,
    id = data?.job_id;
  if (!id) return;
  if (frame.event === "training:status" || frame.event === "training:completed") scheduleCounts();
  if (!rows.has(id)) return;
  const row = rows.get(id);
  const update = pending.get(id) ?? {};
  if (data.status) update.status = data;
  if (frame.event === "training:progress") {
    update.metrics = { ...update.metrics, ...data.metrics };
    if (data.is_best) update.best = data.metrics;
    else {
      update.progress = data;
      const value = data.metrics[field(row, "best")?.dataset.metric];
      if (Number.isFinite(value)) addToSparkline(row, value);
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
  announceNewRows(page);
  updateAges();
  const frames = buffer;
  buffer = null;
  frames.forEach(onFrame);
}

const boxes = () => [...document.querySelectorAll("#jobs input[type=checkbox]")];

function updateSelection() {
  const checked = boxes().filter((box) => box.checked);
  const { length } = checked;
  const trainings = checked.filter((box) => box.dataset.kind === "training").length;
  $("compare").disabled = trainings !== length || length < 2 || length > MAX_COMPARED;
  $("bulk").hidden = length === 0;
  let text = `${length} selected`;
  if (length === 0) text = `Select 2 to ${MAX_COMPARED} jobs`;
  else if (trainings !== length) text = `${length} selected; only trainings are compared`;
  else if (length === 1) text = "1 selected, select one more to compare";
  else if (length > MAX_COMPARED) text = `${length} selected; up to ${MAX_COMPARED} are compared`;
  setText($("chosen"), text);
  $("select-all").checked = length > 0 && length === boxes().length;
}
if ($("compare")) {
  $("select-all").hidden = false;
  $("select-all").addEventListener("change", (event) => {
    for (const box of boxes()) box.checked = event.target.checked;
  });
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
