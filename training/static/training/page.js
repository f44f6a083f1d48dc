// What every live page does: ages that go on, keys, dialogs, parts fetched anew.

import { ago } from "./formatting.js";

export const $ = (id) => document.getElementById(id);

export function say(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

/** The server's clock less ours, in ms. */
let skew = 0;
export function setClock(serverNow) {
  skew = new Date(serverNow) - Date.now();
}
export function serverTime() {
  return Date.now() + skew;
}

export function ages() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    say(time, ago((serverTime() - new Date(time.dateTime)) / 1000));
  }
}

/** The labels by displayed status, from the server (training/jobs/status.py). */
const STATUS_LABELS = JSON.parse($("status-labels")?.textContent ?? "{}");
export const statusLabel = (state) => STATUS_LABELS[state] ?? state;

/** Shows the state as colour, icon and label. */
export function paintPill(pill, state) {
  if (!pill || pill.classList.contains(state)) return;
  pill.className = `pill ${state}`;
  const use = pill.querySelector("use");
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${state}`));
  say(pill.querySelector("span"), statusLabel(state));
}

/** Fetch this page and take over the parts marked data-fresh; returns the fetched document. */
export async function freshen() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(answer.statusText);
  const fetched = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-fresh]")) {
    const newer = fetched.getElementById(part.id);
    if (!newer || newer.innerHTML === part.innerHTML) continue;
    const had = part.contains(document.activeElement);
    part.replaceWith(document.adoptNode(newer));
    if (had) newer.querySelector("button, a")?.focus();
  }
  return fetched;
}

/** One at a time, and once more if asked meanwhile. */
export function single(work) {
  let running = false,
    again = false;
  return async function ask() {
    if (running) return void (again = true);
    running = true;
    try {
      await work();
    } catch {
      // The server is away: whoever reconnects asks again.
    }
    running = false;
    if (again) {
      again = false;
      ask();
    }
  };
}

const typing = (target) => target.closest?.("input, select, textarea, [contenteditable]");

/** `handlers`: {key: function}; none while somebody types, nor with a modifier. */
export function keys(handlers) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const handler = handlers[event.key];
    if (!handler || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    handler();
  });
}

/** j and k: the next and the previous of the rows. */
export function walk(selector) {
  const move = (by) => {
    const rows = [...document.querySelectorAll(selector)];
    const here = rows.findIndex((row) => row.contains(document.activeElement));
    const row = rows[Math.min(rows.length - 1, Math.max(0, here + by))];
    const link = row?.querySelector("a");
    if (row && !link) row.tabIndex = -1;
    (link ?? row)?.focus();
  };
  return { j: () => move(1), k: () => move(-1) };
}

export function dialogs() {
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
    else if (event.target.matches("dialog")) event.target.close();
  });
}

export const help = { "?": () => $("keys")?.showModal() };
