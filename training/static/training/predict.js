// Try a model: readings typed in, the place and its ellipse answered.

import { $ } from "./page.js";
import { metres } from "./words.js";

const address = $("try").dataset.predict;
const RADIUS_68 = Math.sqrt(-2 * Math.log(1 - 0.68));

function readings() {
  const rows = [...document.querySelectorAll("[data-receiver]")];
  return rows.map((row) => {
    const filled = [...row.querySelectorAll("input")].filter((input) => input.value !== "");
    return { receiver_id: row.dataset.receiver, ...Object.fromEntries(filled.map((input) => [input.name, Number(input.value)])) };
  }).filter((one) => Object.keys(one).length > 1);
}

/** The whole axes of the ellipse that should hold 68 %, in metres. */
function axes([[ee, en], [, nn]]) {
  const middle = (ee + nn) / 2, off = Math.hypot((ee - nn) / 2, en);
  return [middle + off, middle - off].map((one) => 2 * RADIUS_68 * Math.sqrt(Math.max(0, one)));
}

function show(lines) {
  $("answer").replaceChildren(...lines.map(([text, css]) => Object.assign(document.createElement("p"), { textContent: text, className: css })));
}

$("readings").addEventListener("submit", async (event) => {
  event.preventDefault();
  const measurements = readings();
  if (!measurements.length) return show([["Type in what at least one receiver heard.", "error"]]);
  try {
    const answer = await fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": event.target.elements.csrfmiddlewaretoken.value },
      body: JSON.stringify({ samples: [{ measurements }] }),
    });
    const told = await answer.json();
    if (!answer.ok) throw new Error([told.detail, ...Object.values(told.errors ?? {}).flat()].join(" "));
    const [place] = told.results ?? told.predictions ?? told;
    const [major, minor] = axes(place.covariance ?? place.covariance_m2);
    show([[`${place.lat.toFixed(5)}, ${place.lon.toFixed(5)}`, "figure-large"], [`68 % of such places lie within an ellipse of ${metres(major)} × ${metres(minor)}.`, "muted"]]);
  } catch (error) {
    show([[error.message, "error"]]);
  }
});
