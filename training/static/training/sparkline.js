// A word-sized curve, drawn like `sparkline` in training/web/charts/line_charts.py.

export const MAX_POINTS = 48;
const WIDTH = 96,
  HEIGHT = 22,
  MARGIN = 2;

/** The path through the values; empty with fewer than two. */
export function sparklinePath(all) {
  const values = all.filter((value) => value !== null && value !== undefined);
  if (values.length < 2) return "";
  const low = Math.min(...values),
    range = Math.max(...values) - low,
    step = (WIDTH - 2 * MARGIN) / (values.length - 1);
  const points = values.map((value, index) => {
    const x = MARGIN + index * step,
      share = range ? (value - low) / range : 0.5,
      y = HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN);
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  return `M${points.join("L")}`;
}

export function drawSparkline(svg, values) {
  const d = sparklinePath(values);
  if (!d) return;
  const path =
    svg.querySelector("path") ??
    svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  path.setAttribute("class", "line");
  path.setAttribute("d", d);
}
