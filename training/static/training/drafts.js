// Keeps the values of a form when a preset or another program is chosen: these are links, which
// reload the form.

const KEY = "heimdall.form";

/** The fields that differ from what the server sent. */
function typedValues(form, except) {
  return [...form.elements]
    .filter(({ name, type }) => name && type !== "hidden" && type !== "file")
    .filter(({ name }) => !except.has(name))
    .flatMap((field) => {
      if (field.type === "checkbox")
        return field.checked === field.defaultChecked ? [] : [[field.name, field.checked]];
      const initial = field.options
        ? ([...field.options].find((option) => option.defaultSelected) ?? field.options[0])?.value
        : field.defaultValue;
      return field.value === initial ? [] : [[field.name, field.value]];
    });
}

function restore(form, values) {
  for (const [name, value] of values) {
    const field = form.elements.namedItem(name);
    if (!(field instanceof Element)) continue;
    if (field.type === "checkbox") field.checked = value;
    else if (!field.options || [...field.options].some((option) => option.value === value))
      field.value = value;
  }
}

/** `links`: a selector; the attribute data-sets of their parent names the fields that they change. */
export function keepTypedValues(form, links) {
  if (!form) return;
  const kept = sessionStorage.getItem(KEY);
  sessionStorage.removeItem(KEY);
  if (kept) restore(form, JSON.parse(kept));
  document.addEventListener("click", (event) => {
    const link = event.target.closest(links);
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const changed = new Set((link.parentElement.dataset.sets ?? "").split(" "));
    sessionStorage.setItem(KEY, JSON.stringify(typedValues(form, changed)));
  });
}
