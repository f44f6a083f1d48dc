// Try a model: readings typed in, the place and its ellipse answered.

import { metres } from "./formatting.js";
import { $ } from "./page.js";

const address = $("try").dataset.predict;

function readings() {
  const rows = [...document.querySelectorAll("[data-receiver]")];
  return rows
    .map((row) => {
      const filled = [...row.querySelectorAll("input")].filter((input) => input.value !== "");
      return {
        receiver_id: row.dataset.receiver,
        ...Object.fromEntries(filled.map((input) => [input.name, Number(input.value)])),
      };
    })
    .filter((one) => Object.keys(one).length > 1);
}

/** Both whole axes. */
function size(ellipse) {
  return `${metres(2 * ellipse.semi_major_m)} × ${metres(2 * ellipse.semi_minor_m)}`;
}

/** The receivers that stand still, the place, its ellipse; north is up. */
function map(place) {
  const flat = Math.cos((place.lat * Math.PI) / 180);
  const here = ({ lat, lon }) => [111320 * flat * (lon - place.lon), -111320 * (lat - place.lat)];
  const still = [...document.querySelectorAll("[data-receiver][data-lat]")].map((row) => ({
    name: row.dataset.receiver,
    at: here({ lat: +row.dataset.lat, lon: +row.dataset.lon }),
  }));
  const { semi_major_m: major, semi_minor_m: minor, azimuth_deg: azimuth } = place.ellipse_68;
  const xs = [-major, major, ...still.map((one) => one.at[0])],
    ys = [-major, major, ...still.map((one) => one.at[1])];
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const scale = Math.min(500 / (Math.max(...xs) - left), 300 / (Math.max(...ys) - top));
  const put = ([x, y]) => [30 + scale * (x - left), 30 + scale * (y - top)];
  const drawn = svg("svg", {
    viewBox: `0 0 560 ${60 + scale * (Math.max(...ys) - top)}`,
    class: "drawing map",
    role: "img",
    "aria-label": "The place between the receivers",
  });
  const [x, y] = put([0, 0]);
  drawn.append(
    svg("ellipse", {
      class: "ellipse prediction",
      cx: x,
      cy: y,
      rx: scale * major,
      ry: scale * minor,
      transform: `rotate(${azimuth - 90} ${x} ${y})`,
    }),
  );
  drawn.append(svg("circle", { class: "estimate", cx: x, cy: y, r: 4 }));
  for (const { name, at } of still) {
    const [tx, ty] = put(at);
    const label = svg("text", {
      class: "name",
      x: tx + (tx > 420 ? -9 : 9),
      y: ty + 4,
      "text-anchor": tx > 420 ? "end" : "start",
    });
    label.textContent = name;
    drawn.append(svg("path", { class: "receiver-marker", d: `M${tx} ${ty - 6}l5.5 10h-11z` }), label);
  }
  return drawn;
}

function svg(kind, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function show(lines) {
  $("answer").replaceChildren(
    ...lines.map(([text, css]) =>
      Object.assign(document.createElement("p"), { textContent: text, className: css }),
    ),
  );
}

$("readings").addEventListener("submit", async (event) => {
  event.preventDefault();
  const measurements = readings();
  if (!measurements.length) return show([["Type in what at least one receiver heard.", "error"]]);
  try {
    const answer = await fetch(address, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        "X-CSRFToken": event.target.elements.csrfmiddlewaretoken.value,
      },
      body: JSON.stringify({ measurements }),
    });
    const told = await answer.json();
    if (!answer.ok)
      throw new Error([told.detail, ...Object.values(told.errors ?? {}).flat()].join(" "));
    const [place] = told.predictions;
    show([
      [`${place.lat.toFixed(5)}, ${place.lon.toFixed(5)}`, "large"],
      [
        `It lies, to 68 %, within an ellipse of ${size(place.ellipse_68)}; to 95 %, of ${size(place.ellipse_95)}.`,
        "muted",
      ],
    ]);
    $("answer").append(map(place));
  } catch (error) {
    show([[error.message, "error"]]);
  }
});
