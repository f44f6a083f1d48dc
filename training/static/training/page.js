// Functions of every page: relative times, keyboard shortcuts, dialogs, refreshed fragments.

import { formatAge } from "./formatting.js";

export const $ = (id) => document.getElementById(id);

/** Changes the text only if it differs, so that screen readers and selections are not disturbed. */
export function setText(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

const ANNOUNCE_INTERVAL = 15000;
let announcedAt = 0,
  announcement = null;

/** For screen readers: the newest text, at most every 15 s. */
export function announce(text) {
  const region = $("polite");
  announcement = text;
  if (!region || Date.now() < announcedAt) return;
  const wait = Math.max(0, announcedAt + ANNOUNCE_INTERVAL - Date.now());
  announcedAt = Date.now() + wait; // a pending announcement uses the newest text
  setTimeout(() => {
    announcedAt = Date.now();
    setText(region, announcement);
  }, wait);
}

/** The server's clock minus this one, in ms. */
let clockOffset = 0;
export function setClock(serverNow) {
  clockOffset = new Date(serverNow) - Date.now();
}
export function serverTime() {
  return Date.now() + clockOffset;
}

export function updateAges() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    setText(time, formatAge((serverTime() - new Date(time.dateTime)) / 1000));
  }
}

/** The labels by displayed status, from the server (training/jobs/status.py). */
const STATUS_LABELS = JSON.parse($("status-labels")?.textContent ?? "{}");
export const statusLabel = (state) => STATUS_LABELS[state] ?? state;

/** Shows the state as color, icon and label. */
export function updatePill(pill, state) {
  if (!pill || pill.classList.contains(state)) return;
  pill.className = `pill ${state}`;
  const use = pill.querySelector("use");
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${state}`));
  setText(pill.querySelector("span"), statusLabel(state));
}

/** Fetches this page and replaces the parts marked data-fragment; returns the fetched document. */
export async function refreshFragments() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok) throw new Error(response.statusText);
  const fetched = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of document.querySelectorAll("[data-fragment]")) {
    const newer = fetched.getElementById(part.id);
    if (!newer || newer.innerHTML === part.innerHTML) continue;
    const hadFocus = part.contains(document.activeElement);
    part.replaceWith(document.adoptNode(newer));
    if (hadFocus) newer.querySelector("button, a")?.focus();
  }
  return fetched;
}

/** Runs `task` once at a time; calls during a run cause exactly one more run after it. */
export function coalesce(task) {
  let running = false,
    requested = false;
  return async function request() {
    if (running) return void (requested = true);
    running = true;
    try {
      await task();
    } catch {
      // The server is unreachable: the connection calls this again once it is back.
    }
    running = false;
    if (requested) {
      requested = false;
      request();
    }
  };
}

/** Runs `task` after `ms`; calls in the meantime change nothing. */
export function delay(task, ms) {
  let timer = null;
  return () => {
    if (timer !== null) return;
    timer = setTimeout(() => {
      timer = null;
      task();
    }, ms);
  };
}

const isTextInput = (target) => target.closest?.("input, select, textarea, [contenteditable]");

/** `handlers`: {key: function}; ignored with a modifier, in text inputs and in dialogs. */
export function addShortcuts(handlers) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTextInput(event.target)) return;
    const handler = handlers[event.key];
    if (!handler || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    handler();
  });
}

/** j and k focus the next and the previous row. */
export function rowNavigation(selector) {
  const moveBy = (step) => {
    const rows = [...document.querySelectorAll(selector)];
    const current = rows.findIndex((row) => row.contains(document.activeElement));
    const row = rows[Math.min(rows.length - 1, Math.max(0, current + step))];
    const link = row?.querySelector("a");
    if (row && !link) row.tabIndex = -1;
    (link ?? row)?.focus();
  };
  return { j: () => moveBy(1), k: () => moveBy(-1) };
}

export function closeDialogs() {
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
    else if (event.target.matches("dialog")) event.target.close();
  });
}

export const helpShortcut = { "?": () => $("keys")?.showModal() };
