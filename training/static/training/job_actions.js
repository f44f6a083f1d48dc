// Pause, resume, cancel: the page's forms, sent without leaving it; a refusal is said in place.

import { $, keys } from "./page.js";

export function steering({ api, refused, toggleLog }) {
  async function ask(form) {
    const wish = new URL(form.action).pathname.split("/").at(-1);
    const buttons = form.querySelectorAll("button");
    buttons.forEach((button) => (button.disabled = true));
    refused.hidden = true;
    try {
      const answer = await fetch(`${api}/${wish}`, {
        method: "POST",
        headers: { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value },
      });
      if (!answer.ok) throw new Error((await answer.json()).detail ?? answer.statusText);
    } catch (error) {
      // fetch rejects with a TypeError where it gets no response at all.
      const reason = error instanceof TypeError ? "the server is unreachable." : error.message;
      refused.textContent = `Could not ${wish}: ${reason}`;
      refused.hidden = false;
    }
    buttons.forEach((button) => (button.disabled = false));
    $("confirm")?.close();
  }

  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-ask]")) return;
    event.preventDefault();
    ask(event.target);
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-cancel]")) return;
    event.preventDefault();
    $("confirm").showModal();
  });
  keys({
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
