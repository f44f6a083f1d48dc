// How all charts of a page are shown: their axis, zoom and smoothing, kept in the address.

import { ChartGroup } from "./chart.js";

const KEY = "heimdall.charts.";

export class ChartView {
  /** `available`: the axes of the job, the default first. */
  constructor(available) {
    const query = new URLSearchParams(location.search);
    this.available = available;
    this.chosen = query.get("x") ?? localStorage.getItem(`${KEY}x`);
    this.zoom = parseRange(query.get("zoom"));
    const smoothing = Number(query.get("smooth") ?? localStorage.getItem(`${KEY}smooth`));
    this.smoothing = smoothing > 0 && smoothing < 1 ? smoothing : 0;
  }

  get axis() {
    return this.available.includes(this.chosen) ? this.chosen : this.available[0];
  }

  choose(axis) {
    this.chosen = axis;
    localStorage.setItem(`${KEY}x`, axis);
    setQuery({ x: axis, zoom: null });
  }

  setSmoothing(weight) {
    this.smoothing = weight;
    localStorage.setItem(`${KEY}smooth`, weight);
    setQuery({ smooth: weight || null });
  }

  setZoom(range) {
    this.zoom = range;
    setZoomQuery(range);
  }
}

/** A group whose zoom is in the address; `button` resets it. */
export function zoomInAddress(button) {
  const group = new ChartGroup((range) => {
    setZoomQuery(range);
    button.hidden = !range;
  });
  group.zoom = parseRange(new URLSearchParams(location.search).get("zoom"));
  button.hidden = !group.zoom;
  button.addEventListener("click", () => group.setZoom(null));
  return group;
}

function setZoomQuery(range) {
  const rounded = range?.map((value) => Number(value.toPrecision(6)));
  setQuery({ zoom: rounded?.join(",") ?? null });
}

export function parseRange(text) {
  const range = text?.split(",").map(Number);
  return range?.length === 2 && range.every(Number.isFinite) && range[0] < range[1] ? range : null;
}

/** Changes parameters of the address; null removes one. */
export function setQuery(values) {
  const address = new URL(location.href);
  for (const [name, value] of Object.entries(values)) {
    if (value === null) address.searchParams.delete(name);
    else address.searchParams.set(name, value);
  }
  history.replaceState(history.state, "", address);
}
