// The list of jobs (here and on the operators' desk), each row moving as its job does.

import { paced } from "./chart.js";
import { metres } from "./formatting.js";
import { Line, showState } from "./live.js";
import { $, ages, freshen, paintPill, say, single } from "./page.js";

const SPARKS = 48,
  WIDTH = 96,
  HEIGHT = 22;
const rows = new Map(
  [...document.querySelectorAll("[data-job]")].map((row) => [row.dataset.job, row.closest("tr")]),
);
const known = new Set(rows.keys());
const waiting = new Map();
let unseen = 0;
let meanwhile = null;

function part(row, name) {
  return row.querySelector(`[data-is=${name}]`);
}

function drawSpark(cell) {
  const values = cell.values.filter((value) => value !== null);
  if (values.length < 2) return;
  const low = Math.min(...values),
    high = Math.max(...values),
    step = (WIDTH - 4) / (values.length - 1);
  const points = values.map(
    (value, index) =>
      `${(2 + index * step).toFixed(1)} ${(HEIGHT - 2 - ((value - low) / (high - low || 1)) * (HEIGHT - 4)).toFixed(1)}`,
  );
  const svg = cell.querySelector("svg");
  const path =
    svg.querySelector("path") ??
    svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  path.setAttribute("class", "line");
  path.setAttribute("d", `M${points.join("L")}`);
}

function addSpark(row, value) {
  const cell = part(row, "spark");
  if (!cell) return;
  cell.values ??= (cell.dataset.values || "").split(",").filter(Boolean).map(Number);
  cell.values.push(value);
  if (cell.values.length > SPARKS) cell.values = cell.values.filter((_, index) => index % 2 === 1);
}

function move(row, share) {
  const bar = row.querySelector("progress");
  if (bar) bar.value = share;
  say(part(row, "percent"), `${share.toFixed(0)} %`);
}

/** What has come since the last painting, row by row: the newest of each kind is enough. */
function paint() {
  for (const [id, news] of waiting) {
    const row = rows.get(id);
    if (news.status) {
      // Events stored by version 0.1 have no display_status.
      const state = news.status.display_status || news.status.status;
      row.dataset.state = state;
      paintPill(part(row, "state"), state);
      row.querySelector("progress")?.setAttribute("class", news.status.status);
      if (news.status.status === "completed") move(row, 100);
    }
    if (news.progress) {
      move(row, (100 * news.progress.epoch) / news.progress.total_epochs);
      say(part(row, "epoch"), `${news.progress.epoch} / ${news.progress.total_epochs}`);
      if (part(row, "spark")?.values) drawSpark(part(row, "spark"));
    }
    if (news.best) say(part(row, "best"), metres(news.best));
    if (news.made) {
      move(row, (100 * news.made.current) / news.made.total);
      say(part(row, "epoch"), `${news.made.current} / ${news.made.total}`);
    }
  }
  waiting.clear();
  say($("fresh")?.firstElementChild, `${unseen} new: show`);
  if ($("fresh")) $("fresh").hidden = !unseen;
}
const repaint = paced(paint);
const counts = single(freshen);
let recount = null;

function take(frame) {
  meanwhile?.push(frame);
  const { data } = frame,
    id = data?.job_id;
  if (!id) return;
  if (frame.event === "training:status" || frame.event === "training:completed")
    recount ??= setTimeout(() => ((recount = null), counts()), 1000);
  if (!rows.has(id)) {
    if (!known.has(id) && frame.seq === 1) {
      known.add(id);
      unseen += 1;
      repaint();
    }
    return;
  }
  const news = waiting.get(id) ?? {};
  if (data.status) news.status = data;
  if (frame.event === "training:progress") {
    if (data.is_best) news.best = data.metrics.val_rmse;
    else {
      news.progress = data;
      addSpark(rows.get(id), data.metrics.val_rmse);
    }
  }
  if (frame.event === "dataset:generation_progress") news.made = data;
  waiting.set(id, news);
  repaint();
}

/**
 * The rows as the server has them now: once the line is open (what happened since the HTML was
 * drawn came to nobody), after a break, and where there is no socket. What comes while they are
 * fetched is told to the new rows once more.
 */
async function again() {
  meanwhile = [];
  const page = await freshen().catch((away) => {
    meanwhile = null;
    throw away;
  });
  for (const [id, row] of rows) {
    const newer = page.querySelector(`[data-job="${id}"]`)?.closest("tr");
    if (!newer) continue;
    const chosen = row.querySelector("input[type=checkbox]")?.checked;
    row.replaceWith(newer);
    rows.set(id, newer);
    if (chosen) newer.querySelector("input[type=checkbox]").checked = true;
  }
  ages();
  const late = meanwhile;
  meanwhile = null;
  late.forEach(take);
}

function choosing() {
  const boxes = [...document.querySelectorAll("#jobs input[type=checkbox]:checked")];
  $("compare").disabled = boxes.length < 2 || boxes.length > 8;
  say(
    $("chosen"),
    boxes.length > 8
      ? "At most eight."
      : boxes.length
        ? `${boxes.length} chosen${boxes.length < 2 ? ": one more" : ""}`
        : "Choose two to eight trainings.",
  );
}
if ($("compare")) {
  choosing();
  document.addEventListener("change", choosing);
}

if (new URLSearchParams(location.search).get("focus") === "search") $("search")?.focus();
const refetch = single(again);
new Line({
  socket: () => "/ws",
  ask: again,
  onFrame: (frame) => (frame.event === "connected" ? refetch() : take(frame)),
  onState: $("live") ? showState($("live")) : () => {},
});
