// The list of jobs, each row moving as its job does.

import { follow, showState } from "./live.js";
import { metres } from "./words.js";

const rows = new Map(
  [...document.querySelectorAll("[data-job]")].map((row) => [row.dataset.job, row]),
);
for (const row of rows.values()) {
  const best = row.querySelector("[data-is=best]");
  best.textContent = metres(best.dataset.metres);
}

function show(frame) {
  const { data } = frame;
  const row = rows.get(data?.job_id);
  if (!row) {
    if (frame.event === "training:status" && frame.seq === 1) {
      document.getElementById("fresh").hidden = false;
    }
    return;
  }
  if (data.status) {
    const chip = row.querySelector("[data-is=status]");
    chip.textContent = data.status;
    chip.className = `chip ${data.status}`;
    if (data.status === "completed") row.querySelector("progress").value = 100;
  }
  if (frame.event === "training:progress") {
    row.querySelector("progress").value = (100 * data.epoch) / data.total_epochs;
    row.querySelector("[data-is=epoch]").textContent = `${data.epoch}/${data.total_epochs}`;
    if (data.is_best) {
      row.querySelector("[data-is=best]").textContent = metres(data.metrics.val_rmse);
    }
  }
  if (frame.event === "dataset:generation_progress") {
    row.querySelector("progress").value = (100 * data.current) / data.total;
  }
}

let opened = false;
follow(
  () => "/ws",
  (frame) => {
    if (frame.event === "connected" && opened) location.reload();
    opened = true;
    show(frame);
  },
  showState(document.getElementById("live")),
);
