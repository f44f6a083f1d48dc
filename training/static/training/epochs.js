// The table of epochs: newest first, best one marked, bounded length.

import { formatCount, formatter } from "./formatting.js";

/** `metrics`: their descriptions by name. The row has a cell for each column of the table. */
export function addRow({ epoch, metrics: values }, metrics, maxRows) {
  const body = document.querySelector("#epochs tbody");
  if (body.querySelector(`[data-epoch="${epoch}"]`)) return;
  const row = document.getElementById("epoch-row").content.firstElementChild.cloneNode(true);
  row.dataset.epoch = epoch;
  row.querySelector("[data-field=epoch]").textContent = formatCount(epoch);
  for (const cell of row.querySelectorAll("[data-metric]")) {
    const name = cell.dataset.metric;
    cell.textContent = formatter(metrics[name])(values[name]);
  }
  body.prepend(row);
  while (body.rows.length > maxRows) body.lastElementChild.remove();
}

export function markBest(epoch) {
  const best = document.querySelector(`#epochs [data-epoch="${epoch}"]`);
  for (const row of document.querySelectorAll("#epochs tr.best"))
    if (row !== best) row.classList.remove("best");
  best?.classList.add("best");
}
