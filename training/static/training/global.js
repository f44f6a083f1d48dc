// Loaded by every page of a signed-in user, the admin included.

import { basePath } from "./base_path.js";
import { keepTypedValues } from "./drafts.js";
import { addShortcuts, closeDialogs, helpShortcut, rowNavigation, updateAges } from "./page.js";

function focusSearch() {
  const field = document.querySelector("#search, #searchbar");
  if (field) field.focus();
  else location.href = `${basePath}/jobs?focus=search`;
}

/**
 * Several clicks send a form once. After a while it can be sent again: the network may have failed.
 * A form with data-repeatable changes nothing, and may answer with one download after another.
 */
const SENT_AGAIN_AFTER = 5000;
const sentAt = new WeakMap();
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post" || "repeatable" in form.dataset) return;
  const now = performance.now();
  if (now - (sentAt.get(form) ?? -Infinity) < SENT_AGAIN_AFTER) event.preventDefault();
  else sentAt.set(form, now);
});

keepTypedValues(document.querySelector("form[data-keeps-typed]"), ".presets a, .chips a");
closeDialogs();
addShortcuts({
  ...helpShortcut,
  ...rowNavigation("[data-row-navigation] tr"),
  "/": focusSearch,
});
setInterval(updateAges, 1000);
