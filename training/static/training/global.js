// Loaded by every page of a signed-in user, the admin included.

import { addShortcuts, closeDialogs, helpShortcut, rowNavigation, updateAges } from "./page.js";

function focusSearch() {
  const field = document.querySelector("#search, #searchbar");
  if (field) field.focus();
  else location.href = "/jobs?focus=search";
}

closeDialogs();
addShortcuts({
  ...helpShortcut,
  ...rowNavigation("[data-row-navigation] tr"),
  "/": focusSearch,
});
setInterval(updateAges, 1000);
