// Pause, resume, cancel: sends the page's forms without leaving it and shows a refusal in place.

import { failureReason } from "./live.js";
import { $, addShortcuts } from "./page.js";

/** The reason of an unsuccessful response; 401 and 403 mean that the session ended or changed. */
async function refusalReason(response) {
  if (response.status === 401 || response.status === 403)
    return "your session ended or changed since this page was loaded. Reload it.";
  const body = await response.json().catch(() => ({}));
  return body.detail ?? response.statusText;
}

export function enableActions({ api, refusal, toggleLog }) {
  async function submit(form) {
    const action = new URL(form.action).pathname.split("/").at(-1);
    const buttons = form.querySelectorAll("button");
    buttons.forEach((button) => (button.disabled = true));
    refusal.hidden = true;
    try {
      const response = await fetch(`${api}/${action}`, {
        method: "POST",
        headers: { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value },
      });
      if (!response.ok) throw new Error(await refusalReason(response));
    } catch (error) {
      refusal.textContent = `Could not ${action}: ${failureReason(error)}`;
      refusal.hidden = false;
    }
    buttons.forEach((button) => (button.disabled = false));
    $("confirm")?.close();
  }

  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-async]")) return;
    event.preventDefault();
    submit(event.target);
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-cancel]")) return;
    event.preventDefault();
    $("confirm").showModal();
  });
  addShortcuts({
    p: () =>
      document
        .querySelector(
          '#actions form[action$="/pause"] button, #actions form[action$="/resume"] button',
        )
        ?.click(),
    c: () => document.querySelector("#actions [data-cancel]")?.click(),
    l: toggleLog,
  });
}
