// The list of datasets: progress of generation and of an upload.

import { EventConnection } from "./live.js";
import { $, setText } from "./page.js";

const generationJobs = new Map(
  [...document.querySelectorAll("[data-generation-job]")].map((cell) => [
    cell.dataset.generationJob,
    cell,
  ]),
);
if (generationJobs.size) {
  const connection = new EventConnection({
    socketUrl: () => "/ws",
    fetchNew: async () => {},
    onState: () => {},
    onFrame: ({ event, data }) => {
      // From the first event: the generation may have ended since the page was rendered.
      if (event === "connected")
        generationJobs.forEach((_, id) =>
          connection.send({ action: "subscribe", job_id: id, after: 0 }),
        );
      const cell = generationJobs.get(data?.job_id);
      if (!cell) return;
      if (event === "dataset:generation_progress")
        cell.querySelector("progress").value = (100 * data.current) / data.total;
      if (event === "training:completed") location.reload();
    },
  });
}

const form = $("import-form");
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const body = new FormData(form);
  body.append(event.submitter?.name ?? "import", "");
  const request = new XMLHttpRequest();
  $("upload").hidden = false;
  setDisabled(true);
  request.upload.onprogress = ({ loaded, total }) => {
    $("upload").querySelector("progress").value = (100 * loaded) / total;
    // A live region: how much was sent is shown by the bar only.
    setText($("upload-status"), loaded < total ? "Uploading…" : "Validating…");
  };
  request.onload = () => {
    if (request.getResponseHeader("Content-Type")?.startsWith("application/json"))
      return void (location.href = JSON.parse(request.responseText).page);
    if (request.status === 403)
      return showError(
        "Your session ended or changed, so nothing was imported. Reload this page and try again.",
      );
    const page = new DOMParser()
      .parseFromString(request.responseText, "text/html")
      .getElementById("import-form");
    if (request.status === 200 && page) return showPreview(page);
    const errors = [...(page?.querySelectorAll(".error") ?? [])].map((error) => error.textContent);
    showError(
      errors.length ? errors.join(" ") : `The server rejected the upload (${request.status}).`,
    );
  };
  request.onerror = () =>
    showError(
      navigator.onLine
        ? "Upload failed (connection lost). Nothing was imported."
        : "Upload failed: this browser is offline. Nothing was imported.",
    );
  request.open("POST", location.href);
  request.setRequestHeader("X-Requested-With", "XMLHttpRequest");
  request.send(body);
});

// The guess for another file does not fit this one.
form.querySelector("input[type=file]").addEventListener("change", () => {
  $("import-preview").replaceChildren();
  $("import_mapping").value = "";
});

// The chosen file stays in the form; a reloaded page would lose it.
function showPreview(page) {
  end();
  $("import-preview").replaceChildren(...page.querySelector("#import-preview").childNodes);
  $("import_mapping").value = page.querySelector("#import_mapping").value;
  $("import-preview").querySelector("section")?.focus();
}

function setDisabled(disabled) {
  form.querySelectorAll("button").forEach((button) => {
    button.disabled = disabled;
  });
}

function end() {
  setDisabled(false);
  $("upload").hidden = true;
  form.querySelectorAll(".error").forEach((element) => element.remove());
}

function showError(text) {
  end();
  const message = Object.assign(document.createElement("small"), {
    className: "error",
    textContent: text,
  });
  message.setAttribute("role", "alert");
  form.querySelector("input[type=file]").after(message);
}
