// What every page, and the desk, does once somebody has signed in: keys, dialogs, ages that go on.

import { ages, dialogs, help, keys, walk } from "./page.js";

function search() {
  const field = document.querySelector("#search, #searchbar");
  if (field) field.focus();
  else location.href = "/jobs?focus=search";
}

dialogs();
keys({ ...help, ...walk("[data-walk] tr"), "/": search });
setInterval(ages, 1000);
