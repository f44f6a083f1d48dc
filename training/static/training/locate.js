// Locate: sends the form without leaving the page, and connects the map with the table.

import { failureReason } from "./live.js";
import { $ } from "./page.js";

const form = $("locate");

function showProblem(source, text) {
  const box = source === "table" ? $("many") : $("one");
  box.querySelector("ul.error")?.closest("#one > .body, #many > ul")?.remove();
  const list = Object.assign(document.createElement("ul"), { className: "error" });
  list.setAttribute("role", "alert");
  list.append(Object.assign(document.createElement("li"), { textContent: text }));
  if (source === "table") return box.prepend(list);
  const body = Object.assign(document.createElement("div"), { className: "body" });
  body.append(list);
  box.prepend(body);
}

/** Replaces parts of the page with those that the server rendered; the chosen file is kept. */
function showPage(page) {
  const focused = document.activeElement?.id;
  // Keep input that was typed during the request.
  for (const input of $("one").querySelectorAll("input"))
    page.getElementById(input.id).value = input.value;
  for (const id of ["one", "many", "results"]) $(id).replaceWith(page.getElementById(id));
  connectResults();
  const invalid = form.querySelector("[aria-invalid=true]");
  if (invalid) invalid.focus();
  else if (form.querySelector("ul.error")) $(focused)?.focus();
  else $("results").focus({ preventScroll: true });
  const shown = form.querySelector("[role=alert]") ?? $("results");
  const { top, bottom } = shown.getBoundingClientRect();
  if (top < 0 || top > innerHeight - 200 || bottom < 0) shown.scrollIntoView({ block: "start" });
}

form.addEventListener("submit", async (event) => {
  const button = event.submitter;
  if (button?.name === "download") return; // the browser saves the file and stays on the page
  event.preventDefault();
  const body = new FormData(form);
  body.set("source", button?.value ?? "readings");
  const label = button?.textContent;
  setBusy(true);
  if (button) button.textContent = "Locating…";
  try {
    const response = await fetch(location.pathname, { method: "POST", body });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    if (page.getElementById("results") === null)
      throw new Error(
        response.status === 403 || response.redirected
          ? "Your session ended or changed since this page was loaded. Reload it."
          : response.status === 413
            ? "The table is too large. Choose it as a file, or send it in parts."
            : `The server rejected the readings (${response.status}).`,
      );
    showPage(page);
  } catch (error) {
    showProblem(body.get("source"), failureReason(error));
  }
  if (button) button.textContent = label;
  setBusy(false);
});

function setBusy(busy) {
  for (const button of form.querySelectorAll("button")) button.disabled = busy;
  $("results").toggleAttribute("aria-busy", busy);
}

// The shown positions and those that a download computes again are the same until input changes.
form.addEventListener("input", (event) => {
  if (event.target.id === "table") $("file").value = ""; // else the file would be read instead
  if (!$("positions")) return;
  $("stale").hidden = false;
  for (const button of document.querySelectorAll(".downloads button")) button.disabled = true;
});

function connectResults() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async (event) => {
      event.stopPropagation();
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
  }
  for (const row of document.querySelectorAll("#positions tbody tr"))
    row.addEventListener("click", (event) => {
      if (event.target.closest("a")) event.preventDefault();
      select(row, event.target.closest("a"));
    });
  for (const marker of document.querySelectorAll("#results [data-answer]"))
    marker.addEventListener("click", () => {
      const row = $(`answer-${marker.dataset.answer}`);
      select(row);
      row.scrollIntoView({ block: "nearest" });
    });
}

/** Highlights a position on the map and in the table, with the receivers that heard it. */
function select(row, link = null) {
  const number = row.id.replace("answer-", "");
  const heard = new Set(row.dataset.heard.split(" "));
  for (const other of document.querySelectorAll("#positions tbody tr"))
    other.classList.toggle("here", other === row);
  for (const part of document.querySelectorAll("#results .answer"))
    part.classList.toggle("chosen", part.dataset.answer === number || part.id === `map-${number}`);
  for (const receiver of document.querySelectorAll("#results [data-receiver]"))
    receiver.classList.toggle("heard", heard.has(receiver.dataset.receiver));
  if (link) document.querySelector("#results svg")?.scrollIntoView({ block: "nearest" });
}

connectResults();
