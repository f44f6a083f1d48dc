// What can be downloaded of a job, where the server lists it.

import { $ } from "./page.js";

function size(bytes) {
  for (const [unit, step] of [
    ["GB", 1e9],
    ["MB", 1e6],
    ["kB", 1e3],
  ])
    if (bytes >= step) return `${(bytes / step).toFixed(1)} ${unit}`;
  return bytes === undefined || bytes === null ? "" : `${bytes} B`;
}

let newest = 0;

export async function artifacts(api, job) {
  const panel = $("artifacts");
  if (job.kind !== "training" || !job.current_epoch || !("artifacts" in $("job").dataset)) return;
  const asked = (newest += 1);
  const answer = await fetch(`${api}/artifacts`);
  if (!answer.ok) return;
  const told = await answer.json();
  if (asked !== newest) return; // a later question's answer may have come first
  const rows = (Array.isArray(told) ? told : (told.results ?? [])).map((one) => {
    const row = document.createElement("tr");
    const link = Object.assign(document.createElement("a"), {
      href: one.url ?? `${api}/artifacts/${one.name}`,
      textContent: one.name,
      download: "",
    });
    const named = row.insertCell();
    named.append(link);
    if (one.description)
      named.append(
        Object.assign(document.createElement("small"), {
          className: "muted",
          textContent: ` ${one.description}`,
        }),
      );
    const cell = row.insertCell();
    cell.className = "number muted";
    cell.textContent = size(one.size ?? one.bytes);
    return row;
  });
  panel.querySelector("tbody").replaceChildren(...rows);
  panel.hidden = !rows.length;
}
