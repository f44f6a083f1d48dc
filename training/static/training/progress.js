// The speed of a training and the time left, computed as in `training/jobs/progress.py`.

import { formatCount, formatEta, formatFixed } from "./formatting.js";

/** The speed is measured over the newer half of the epochs that are kept. */
const MIN_SPEED_EPOCHS = 20,
  MAX_SPEED_EPOCHS = 120;

export class Speed {
  /** `ends`: when the newest epochs of this attempt ended. */
  constructor(ends = []) {
    this.ends = ends.map((end) => Date.parse(end));
  }

  reset() {
    this.ends = [];
  }

  addEpochEnd(at) {
    this.ends.push(at);
    if (this.ends.length > MAX_SPEED_EPOCHS) this.ends.shift();
  }

  /** Null before two epochs have ended. */
  get secondsPerEpoch() {
    const newer = this.ends.slice(
      -Math.max(MIN_SPEED_EPOCHS + 1, Math.floor(this.ends.length / 2)),
    );
    return newer.length < 2 ? null : (newer.at(-1) - newer[0]) / 1000 / (newer.length - 1);
  }

  /** Seconds until this many more epochs have ended; null while the speed is unknown. */
  secondsLeft(epochs, now) {
    if (this.secondsPerEpoch === null) return null;
    const sinceLast = Math.min((now - this.ends.at(-1)) / 1000, this.secondsPerEpoch);
    return Math.max(0, this.secondsPerEpoch * epochs - sinceLast);
  }
}

/** The text next to the progress bar, the same as `progress_text` in `web/views/job_page.py`. */
export function progressText(job, speed, now) {
  const share = `${formatFixed(job.progress_percent, 0)} %`;
  if (job.kind !== "training")
    return `${formatCount(job.generated ?? 0)} of ${formatCount(job.config.samples)} samples, ${share}`;
  const isReported = (job.reported_percent ?? null) !== null;
  if (!isReported && !job.total_epochs) return `Epoch ${formatCount(job.current_epoch)}`;
  const text = job.total_epochs
    ? `Epoch ${formatCount(job.current_epoch)} of ${formatCount(job.total_epochs)}, ${share}`
    : share;
  if (job.status !== "running") return text;
  if (job.total_epochs && job.current_epoch === job.total_epochs)
    return `${text}, ${job.dataset_id ? "evaluating on the test set" : "finishing"}`;
  const seconds = job.estimated_end_at
    ? Math.max(0, (Date.parse(job.estimated_end_at) - now) / 1000)
    : job.total_epochs
      ? speed.secondsLeft(job.total_epochs - job.current_epoch, now)
      : null;
  const left = formatEta(seconds);
  const { patience } = job.config;
  const mayStopEarly =
    Number.isInteger(patience) && (job.best_epoch ?? 0) + patience < job.total_epochs;
  return text + (left && `, ${mayStopEarly ? "at most " : ""}about ${left} left`);
}
