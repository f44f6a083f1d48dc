// Locate a transmitter: sends the readings and shows the position with its ellipse.

import { formatDistance, formatFixed } from "./formatting.js";
import { failureReason } from "./live.js";
import { numberAsJson } from "./numbers.js";
import { $ } from "./page.js";

const address = $("try").dataset.predict;

/**
 * The rows as JSON, with every digit that was typed: arrival times have more than a Number holds.
 * Marks the inputs that are not numbers and throws the reason for the first.
 */
function readings() {
  const rows = [];
  let refused = null;
  for (const row of document.querySelectorAll("[data-receiver]")) {
    const fields = [];
    for (const input of row.querySelectorAll("input")) {
      input.removeAttribute("aria-invalid");
      input.parentElement.querySelector(".error")?.remove();
      if (input.value.trim() === "") continue;
      try {
        fields.push(`"${input.dataset.field}":${numberAsJson(input.value)}`);
      } catch (error) {
        input.setAttribute("aria-invalid", "true");
        refused ??= new Error(`${input.getAttribute("aria-label")}: ${error.message}`);
      }
    }
    if (fields.length)
      rows.push(`{"receiver_id":${JSON.stringify(row.dataset.receiver)},${fields.join(",")}}`);
  }
  if (refused) throw refused;
  if (!rows.length) throw new Error("Enter at least one reading.");
  return `{"measurements":[${rows.join(",")}]}`;
}

/** Both full axes. */
function size(ellipse) {
  return `${formatDistance(2 * ellipse.semi_major_m)} × ${formatDistance(2 * ellipse.semi_minor_m)}`;
}

/** The fixed receivers, the position and its ellipse; north is up. */
function drawMap(estimate) {
  const flat = Math.cos((estimate.lat * Math.PI) / 180);
  const project = ({ lat, lon }) => [
    111320 * flat * (lon - estimate.lon),
    -111320 * (lat - estimate.lat),
  ];
  const fixed = [...document.querySelectorAll("[data-receiver][data-lat]")].map((row) => ({
    name: row.dataset.receiver,
    at: project({ lat: +row.dataset.lat, lon: +row.dataset.lon }),
  }));
  const { semi_major_m: major, semi_minor_m: minor, azimuth_deg: azimuth } = estimate.ellipse_68;
  const xs = [-major, major, ...fixed.map(({ at }) => at[0])],
    ys = [-major, major, ...fixed.map(({ at }) => at[1])];
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const scale = Math.min(500 / (Math.max(...xs) - left), 300 / (Math.max(...ys) - top));
  const toPixels = ([x, y]) => [30 + scale * (x - left), 30 + scale * (y - top)];
  const drawing = svg("svg", {
    viewBox: `0 0 560 ${60 + scale * (Math.max(...ys) - top)}`,
    class: "drawing map",
    role: "img",
    "aria-label": "Estimated position and receivers",
  });
  const [x, y] = toPixels([0, 0]);
  drawing.append(
    svg("ellipse", {
      class: "ellipse prediction",
      cx: x,
      cy: y,
      rx: scale * major,
      ry: scale * minor,
      transform: `rotate(${azimuth - 90} ${x} ${y})`,
    }),
  );
  drawing.append(svg("circle", { class: "estimate", cx: x, cy: y, r: 4 }));
  const markers = fixed.map(({ name, at: place }) => ({ name, at: toPixels(place) }));
  const taken = markers.map(({ at: [mx, my] }) => [mx - 6, my - 6, mx + 6, my + 4]);
  for (const { name, at } of markers.sort((one, other) => one.at[1] - other.at[1])) {
    const marker = svg("path", {
      class: "receiver-marker",
      d: `M${at[0]} ${at[1] - 6}l5.5 10h-11z`,
    });
    marker.append(Object.assign(svg("title", {}), { textContent: name }));
    drawing.append(marker);
    const label = freeLabel(name, at, taken);
    if (label) drawing.append(label);
  }
  return drawing;
}

/** The name at the first free position around its marker, as in training/web/charts/maps.py. */
function freeLabel(name, [x, y], taken) {
  const width = 7.6 * name.length;
  for (const shift of [0, -8, -16, 8, 16, 24]) {
    for (const [left, anchor] of [
      [x + 9, "start"],
      [x - 9 - width, "end"],
    ]) {
      const baseline = y + 4 + shift;
      const box = [left, baseline - 11, left + width, baseline + 3];
      const overlaps = (other) =>
        box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3];
      if (left < 0 || left + width > 560 || taken.some(overlaps)) continue;
      taken.push(box);
      const at = { x: anchor === "start" ? left : left + width, y: baseline };
      const label = svg("text", { class: "name", ...at, "text-anchor": anchor });
      label.textContent = name;
      return label;
    }
  }
  return null;
}

function svg(kind, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
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
  try {
    const body = readings();
    show([["Estimating…", "muted"]]);
    const response = await fetch(address, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        "X-CSRFToken": event.target.elements.csrfmiddlewaretoken.value,
      },
      body,
    });
    if (response.status === 401 || response.status === 403)
      throw new Error("Your session ended or changed since this page was loaded. Reload it.");
    const result = await response.json();
    if (!response.ok)
      throw new Error([result.detail, ...Object.values(result.errors ?? {}).flat()].join(" "));
    const [estimate] = result.predictions;
    show([
      [`${formatFixed(estimate.lat, 5)}, ${formatFixed(estimate.lon, 5)}`, "large"],
      [
        `68 % confidence ellipse ${size(estimate.ellipse_68)} (95 %: ${size(estimate.ellipse_95)}).`,
        "muted",
      ],
    ]);
    $("answer").append(drawMap(estimate));
  } catch (error) {
    show([[asSentence(failureReason(error)), "error"]]);
  }
});

function asSentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
