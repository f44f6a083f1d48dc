// Sweeps: the list, or one whose trials come, train and go while it is looked at.

import { Chart, paced, WHOLE } from "./chart.js";
import { Columns } from "./columns.js";
import { figure, metres, shortFigure, shortMetres } from "./formatting.js";
import { Line, showState } from "./live.js";
import { $, ages, freshen, keys, single } from "./page.js";

const EVERY = 1000; // ms between two looks at the rows
const SLOTS = 8;
let told = $("told") && JSON.parse($("told").textContent);
let known = new Set(),
  runs = [];

function take(fetched) {
  told = fetched;
  known = new Set(told.trials);
  const had = new Map(runs.map((run) => [run.id, run]));
  runs = told.runs.map((run) => {
    const mine = had.get(run.id);
    // What came over the socket meanwhile may be newer than the page that was fetched.
    return mine && mine.seq >= run.seq ? mine : { ...run, columns: new Columns(run.columns) };
  });
}

const inMetres = told?.metric === "val_rmse";
const chart =
  told &&
  new Chart($("curves"), {
    name: "sweep",
    title: told.title,
    say: inMetres ? metres : (value) => figure(value),
    tick: inMetres ? shortMetres : shortFigure,
    incrs: WHOLE,
    series: Array.from({ length: SLOTS }, (_, index) => ({
      colour: `--c${index}`,
      spanGaps: true,
    })),
  });

function paint() {
  if (!runs.some(({ columns }) => columns.last)) return;
  const tables = runs.map(({ columns }) => [columns.epoch, columns.series[told.metric]]);
  const joined = tables.length > 1 ? uPlot.join(tables) : tables[0];
  // The chart keeps its eight places, whoever stands in them.
  chart.show([
    ...joined,
    ...Array.from({ length: SLOTS - runs.length }, () => joined[0].map(() => null)),
  ]);
}
const repaint = paced(paint);

const again = single(async () => {
  const page = await freshen();
  ages();
  const newer = page.getElementById("told");
  if (!newer) return;
  take(JSON.parse(newer.textContent));
  repaint();
});
let due = null;
const soon = () => (due ??= setTimeout(() => ((due = null), again()), EVERY));

function hear(frame) {
  if (frame.event === "connected") return void again();
  const id = frame.data?.job_id;
  if (!id) return;
  if (!told) return void (frame.event === "training:progress" || soon());
  // Somebody's first event: it may be the next trial.
  if (!known.has(id)) return void (frame.seq === 1 && soon());
  const run = runs.find((one) => one.id === id);
  if (run && frame.seq > run.seq) {
    run.seq = frame.seq;
    if (frame.event === "training:progress" && !frame.data.is_best) {
      run.columns.add(frame.data.epoch, frame.data.metrics, 0);
      repaint();
    }
  }
  soon();
}

if (told) {
  take(told);
  paint();
}
keys({ l: () => chart?.setLog(!chart.log) });
if (!told || told.active)
  new Line({
    socket: () => "/ws",
    ask: async () => again(),
    onFrame: hear,
    onState: showState($("live")),
  });
