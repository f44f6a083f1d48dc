// Lists the files of a job that can be downloaded, if the server offers any.

import { formatSize } from "./formatting.js";
import { $ } from "./page.js";

const IMAGE = /\.(gif|jpe?g|png|webp)$/i;

let lastRequest = 0;

export async function showArtifacts(api, job) {
  const panel = $("artifacts");
  if (job.kind !== "training" || !("artifacts" in $("job").dataset)) return;
  const request = (lastRequest += 1);
  const response = await fetch(`${api}/artifacts`);
  if (!response.ok) return;
  const listed = await response.json();
  if (request !== lastRequest) return; // the response of a later request may have come first
  const artifacts = Array.isArray(listed) ? listed : (listed.results ?? []);
  const rows = artifacts.map((artifact) => {
    const row = document.createElement("tr");
    const link = Object.assign(document.createElement("a"), {
      href: artifact.url ?? `${api}/artifacts/${artifact.name}`,
      textContent: artifact.name,
      download: "",
    });
    const nameCell = row.insertCell();
    nameCell.append(link);
    if (IMAGE.test(artifact.name))
      nameCell.append(
        Object.assign(document.createElement("img"), {
          src: link.href,
          alt: artifact.name,
          loading: "lazy",
          className: "preview",
        }),
      );
    if (artifact.description)
      nameCell.append(
        Object.assign(document.createElement("small"), {
          className: "muted",
          textContent: ` ${artifact.description}`,
        }),
      );
    const sizeCell = row.insertCell();
    sizeCell.className = "number muted";
    sizeCell.textContent = formatSize(artifact.size ?? artifact.bytes);
    return row;
  });
  panel.querySelector("tbody").replaceChildren(...rows);
  panel.hidden = !rows.length;
}
