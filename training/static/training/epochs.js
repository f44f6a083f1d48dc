// The table of epochs: the newest first, the best starred, no more rows than the page began with.

import { figure, metres, percent } from "./formatting.js";

export function addRow({ epoch, metrics }, most) {
  const body = document.querySelector("#epochs tbody");
  if (body.querySelector(`[data-epoch="${epoch}"]`)) return;
  const row = document.getElementById("epoch-row").content.firstElementChild.cloneNode(true);
  row.dataset.epoch = epoch;
  const said = [
    epoch,
    figure(metrics.train_loss),
    figure(metrics.val_loss),
    metres(metrics.val_rmse),
    metres(metrics.val_median),
    metres(metrics.val_p95),
    metres(metrics.val_rmse_good_geom),
    percent(metrics.val_coverage_68),
    figure(metrics.learning_rate, 3),
  ];
  said.forEach((text, index) => (row.cells[index + 1].textContent = text));
  body.prepend(row);
  while (body.rows.length > most) body.lastElementChild.remove();
}

export function starRow(epoch) {
  const best = document.querySelector(`#epochs [data-epoch="${epoch}"]`);
  for (const row of document.querySelectorAll("#epochs tr.best"))
    if (row !== best) row.classList.remove("best");
  best?.classList.add("best");
}
