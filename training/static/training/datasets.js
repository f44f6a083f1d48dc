// Datasets: how far each is made, and how far an upload has come.

import { Line } from "./live.js";
import { $, say } from "./page.js";

const makers = new Map(
  [...document.querySelectorAll("[data-maker]")].map((cell) => [cell.dataset.maker, cell]),
);
if (makers.size) {
  const line = new Line({
    socket: () => "/ws",
    ask: async () => {},
    onState: () => {},
    onFrame: ({ event, data }) => {
      // From the first event on: it may have been finished since this page was drawn.
      if (event === "connected")
        makers.forEach((_, id) => line.tell({ action: "subscribe", job_id: id, after: 0 }));
      const cell = makers.get(data?.job_id);
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
  const sent = new FormData(form);
  sent.append("import", "");
  const request = new XMLHttpRequest();
  $("upload").hidden = false;
  form.querySelector("button").disabled = true;
  request.upload.onprogress = ({ loaded, total }) => {
    $("upload").querySelector("progress").value = (100 * loaded) / total;
    say(
      $("upload-words"),
      loaded < total
        ? `Sending, ${Math.round((100 * loaded) / total)} %`
        : "Reading the tables; nothing is kept unless all of it is right.",
    );
  };
  request.onload = () => {
    if (request.status < 300) return void (location.href = JSON.parse(request.responseText).page);
    const answer = new DOMParser()
      .parseFromString(request.responseText, "text/html")
      .getElementById("import-form");
    const wrong = [...(answer?.querySelectorAll(".error") ?? [])].map((one) => one.textContent);
    refuse(wrong.length ? wrong.join(" ") : `The server refused it (${request.status}).`);
  };
  request.onerror = () => refuse("The line broke while sending; nothing was imported. Try again.");
  request.open("POST", location.href);
  request.setRequestHeader("X-Requested-With", "XMLHttpRequest");
  request.send(sent);
});

function refuse(words) {
  form.querySelector("button").disabled = false;
  $("upload").hidden = true;
  form.querySelectorAll(".error").forEach((one) => one.remove());
  const said = Object.assign(document.createElement("small"), {
    className: "error",
    textContent: words,
  });
  said.setAttribute("role", "alert");
  form.querySelector("input[type=file]").after(said);
}
