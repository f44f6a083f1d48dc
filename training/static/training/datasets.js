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
  body.append("import", "");
  const request = new XMLHttpRequest();
  $("upload").hidden = false;
  form.querySelector("button").disabled = true;
  request.upload.onprogress = ({ loaded, total }) => {
    $("upload").querySelector("progress").value = (100 * loaded) / total;
    setText(
      $("upload-status"),
      loaded < total ? `Uploading, ${Math.round((100 * loaded) / total)} %` : "Validating…",
    );
  };
  request.onload = () => {
    if (request.status < 300) return void (location.href = JSON.parse(request.responseText).page);
    const page = new DOMParser()
      .parseFromString(request.responseText, "text/html")
      .getElementById("import-form");
    const errors = [...(page?.querySelectorAll(".error") ?? [])].map((one) => one.textContent);
    showError(
      errors.length ? errors.join(" ") : `The server rejected the upload (${request.status}).`,
    );
  };
  request.onerror = () => showError("Upload failed (connection lost). Nothing was imported.");
  request.open("POST", location.href);
  request.setRequestHeader("X-Requested-With", "XMLHttpRequest");
  request.send(body);
});

function showError(text) {
  form.querySelector("button").disabled = false;
  $("upload").hidden = true;
  form.querySelectorAll(".error").forEach((one) => one.remove());
  const message = Object.assign(document.createElement("small"), {
    className: "error",
    textContent: text,
  });
  message.setAttribute("role", "alert");
  form.querySelector("input[type=file]").after(message);
}
