// Locate a transmitter: sends the readings and shows the position with its ellipse.

import { formatDistance } from "./formatting.js";
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
  const xs = [-major, major, ...fixed.map((one) => one.at[0])],
    ys = [-major, major, ...fixed.map((one) => one.at[1])];
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
  for (const { name, at } of fixed) {
    const [tx, ty] = toPixels(at);
    const label = svg("text", {
      class: "name",
      x: tx + (tx > 420 ? -9 : 9),
      y: ty + 4,
      "text-anchor": tx > 420 ? "end" : "start",
    });
    label.textContent = name;
    drawing.append(
      svg("path", { class: "receiver-marker", d: `M${tx} ${ty - 6}l5.5 10h-11z` }),
      label,
    );
  }
  return drawing;
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
  const measurements = readings();
  if (!measurements.length) return show([["Enter at least one reading.", "error"]]);
  try {
    const response = await fetch(address, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        "X-CSRFToken": event.target.elements.csrfmiddlewaretoken.value,
      },
      body: JSON.stringify({ measurements }),
    });
    const result = await response.json();
    if (!response.ok)
      throw new Error([result.detail, ...Object.values(result.errors ?? {}).flat()].join(" "));
    const [estimate] = result.predictions;
    show([
      [`${estimate.lat.toFixed(5)}, ${estimate.lon.toFixed(5)}`, "large"],
      [
        `68 % confidence ellipse ${size(estimate.ellipse_68)} (95 %: ${size(estimate.ellipse_95)}).`,
        "muted",
      ],
    ]);
    $("answer").append(drawMap(estimate));
  } catch (error) {
    show([[error.message, "error"]]);
  }
});
