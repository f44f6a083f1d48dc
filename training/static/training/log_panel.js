// The end of a job's log, live and of bounded length, however much a training prints.

import { DEFAULT_STYLE, foldReturns, parseLine, plainText } from "./ansi.js";
import { throttle } from "./chart.js";
import { $, coalesce, setText } from "./page.js";

const MAX_LINES = 5000,
  MAX_LINE_LENGTH = 4000,
  PAGE_BYTES = 256 * 1024,
  CHECK_INTERVAL = 10000;
const TRACEBACK = /^Traceback \(most recent call last\)/;
const ERROR = /^\S*(Error|Exception|Interrupt)\b(:|$)|\b(ERROR|CRITICAL|FATAL)\b|^(error|fatal):/;
const WARNING = /\bWARN(ING)?\b|\w*Warning:/;
const byteLength = (text) => new TextEncoder().encode(text).length;

/** The class of each line: those of a traceback, other errors, warnings. */
export function classifyLines() {
  let inTraceback = false;
  return (text) => {
    if (TRACEBACK.test(text)) inTraceback = true;
    else if (inTraceback && text && !/^\s/.test(text)) {
      inTraceback = false;
      return "error";
    }
    if (inTraceback) return "trace";
    if (ERROR.test(text)) return "error";
    return WARNING.test(text) ? "warning" : "";
  };
}

/** The panel of the page, if it has one; `job` is updated by the page. */
export function createLogPanel(api, job) {
  return $("log") ? new LogPanel($("log"), api, job) : null;
}

class LogPanel {
  constructor(root, api, job) {
    Object.assign(this, { root, api, job });
    this.view = $("log-lines");
    this.attempt = Number(root.dataset.attempt);
    this.following = true;
    this.pending = "";
    this.catchUp = coalesce(() => this.fetchNew());
    this.flush = throttle(() => this.drawPending());
    this.clear(0);
    this.enableTools();
    this.view.addEventListener("scroll", () => this.onScroll());
    setInterval(() => {
      if (this.job.status === "running" && !document.hidden) this.catchUp();
    }, CHECK_INTERVAL);
    document.addEventListener("visibilitychange", () => !document.hidden && this.catchUp());
    this.openEnd(Number(root.dataset.size));
  }

  enableTools() {
    $("log-tools").hidden = false;
    $("log-wrap").addEventListener("click", ({ target }) => {
      const wrap = this.view.classList.toggle("wrap");
      target.setAttribute("aria-pressed", wrap);
    });
    $("log-follow").addEventListener("click", () => {
      if (this.detached) this.reload();
      else this.setFollowing(!this.following);
    });
    $("log-search").addEventListener("input", () => this.search());
    $("log-search").addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.moveToMatch(event.shiftKey ? -1 : 1);
    });
    $("log-attempt").addEventListener("change", ({ target }) => this.choose(Number(target.value)));
    $("log-earlier").addEventListener("click", () => this.loadEarlier());
  }

  url(after) {
    return `${this.api}/logs?attempt=${this.attempt}&after=${after}`;
  }

  /** `start`, `end`: the offsets of what is shown, in bytes of the whole output. */
  clear(offset) {
    this.start = this.end = this.announced = offset;
    this.detached = false;
    this.pending = "";
    this.partial = "";
    this.style = DEFAULT_STYLE;
    this.classify = classifyLines();
    this.trimmed = false;
    this.outdated = true; // the shown output is replaced as soon as new output arrives
  }

  async reload() {
    const response = await fetch(this.url(0), { method: "HEAD", headers: { Range: "bytes=-1" } });
    const size = Number(response.headers.get("Content-Range")?.split("/")[1] ?? 0);
    await this.openEnd(size);
  }

  async choose(attempt) {
    this.attempt = attempt;
    $("log-download").href = `${this.api}/logs?attempt=${attempt}`;
    await this.reload();
  }

  /** Shows the last page of an output of `size` bytes, at the traceback of a failed job. */
  async openEnd(size) {
    const first = Math.max(0, size - PAGE_BYTES);
    this.clear(first);
    this.setFollowing(true);
    await this.fetchNew(first > 0);
    this.drawPending();
    if (this.job.status !== "failed") return;
    const lines = [...this.view.children];
    const found = lines.findLast((line) => TRACEBACK.test(line.textContent));
    if (!found) return;
    this.setFollowing(false);
    this.view.scrollTop = found.offsetTop;
  }

  /** New output, announced with its offset; omitted or lost output is fetched. */
  onEvent({ attempt, after, text }) {
    this.addAttempts(attempt);
    if (attempt === this.attempt) this.announced = after;
    if (attempt !== this.attempt || this.detached) return;
    if (after + byteLength(text) <= this.end) return;
    // The bytes of replaced characters are not known.
    if (after === this.end && !this.fetching && !text.includes("\ufffd")) {
      this.end += byteLength(text);
      this.append(text);
    } else this.catchUp();
  }

  /** The job has `newest` attempts; a reader of the newest one continues with it. */
  addAttempts(newest) {
    const chooser = $("log-attempt");
    const known = chooser.length;
    for (let number = known + 1; number <= newest; number += 1)
      chooser.add(new Option(`attempt ${number}`, number));
    chooser.hidden = chooser.length < 2;
    if (newest <= known || this.attempt < known || !this.following) return;
    chooser.value = newest;
    this.choose(newest);
  }

  /** Fetches the bytes after `end`; of very many, only the last page. */
  async fetchNew(dropFirstLine = false) {
    if (this.detached) return;
    // Only the end of a long output is shown; the part before it may already be deleted.
    if (this.announced - this.end > PAGE_BYTES) return await this.skipTo(this.announced);
    const { attempt, end } = this;
    this.fetching = true;
    try {
      const response = await fetch(this.url(this.end), {
        headers: { Range: `bytes=0-${PAGE_BYTES - 1}` },
      });
      if (attempt !== this.attempt) return;
      if (response.status === 416) return await this.skipGap(response);
      if (!response.ok) return;
      const [, first, total] = /bytes (\d+)-\d+\/(\d+)/.exec(
        response.headers.get("Content-Range"),
      ) ?? [null, 0, 0];
      const bytes = new Uint8Array(await response.arrayBuffer());
      // Another request or an event has already delivered these bytes.
      if (attempt !== this.attempt || end !== this.end) return;
      const behind = Number(total) - bytes.length;
      if (behind > PAGE_BYTES) return await this.skipTo(this.end + Number(total) - PAGE_BYTES);
      const skipped = Number(first);
      if (skipped) this.notice(this.end, this.end + skipped);
      this.end += skipped + bytes.length;
      let text = this.decoder().decode(bytes, { stream: true });
      if (dropFirstLine) {
        const from = text.indexOf("\n") + 1;
        this.start += byteLength(text.slice(0, from));
        text = text.slice(from);
      }
      this.append(text);
      if (behind > 0) await this.fetchNew();
    } finally {
      this.fetching = false;
    }
  }

  decoder() {
    if (this.decoderOf !== this.attempt) this.textDecoder = new TextDecoder();
    this.decoderOf = this.attempt;
    return this.textDecoder;
  }

  async skipGap(response) {
    const total = Number(response.headers.get("Content-Range")?.split("/")[1] ?? 0);
    if (total > PAGE_BYTES) await this.skipTo(this.end + total - PAGE_BYTES);
  }

  async skipTo(offset) {
    this.notice(this.end, offset);
    this.end = offset;
    await this.fetchNew();
  }

  notice(from, to) {
    const size = to - from;
    this.append(
      `\n\x1b[2m… ${size.toLocaleString("en-US")} bytes are not shown; download has them …\x1b[0m\n`,
    );
  }

  append(text) {
    this.pending += text;
    if (this.pending.length > 8 * PAGE_BYTES) this.pending = this.pending.slice(-PAGE_BYTES);
    this.flush();
  }

  drawPending() {
    if (this.outdated) this.view.replaceChildren();
    else if (this.partial) this.view.lastElementChild?.remove();
    this.outdated = false;
    const [first, ...rest] = this.pending.split("\n");
    this.pending = "";
    const lines = [this.partial + first, ...rest];
    this.partial = foldReturns(lines.pop()).slice(0, 4 * MAX_LINE_LENGTH);
    const complete = lines.slice(-MAX_LINES);
    const elements = complete.map((line) => this.element(line));
    if (this.partial) {
      // Its style counts once it is complete.
      const style = this.style;
      elements.push(this.element(this.partial, classifyLines()));
      this.style = style;
    }
    this.view.append(...elements);
    while (this.view.childElementCount > MAX_LINES) this.dropFirst();
    this.afterDraw();
  }

  dropFirst() {
    this.trimmed = true;
    this.view.firstElementChild.remove();
  }

  afterDraw() {
    $("log-empty").hidden = this.view.childElementCount > 0;
    $("log-earlier").hidden = this.start === 0 || this.trimmed;
    if (this.following) this.view.scrollTop = this.view.scrollHeight;
    if ($("log-search").value) this.search(false);
  }

  /** A line as an element; its text never becomes markup. */
  element(line, classify = this.classify) {
    const { spans, style } = parseLine(line, this.style);
    this.style = style;
    const element = document.createElement("span");
    element.className = `line ${classify(plainText(line))}`;
    let left = MAX_LINE_LENGTH;
    for (const { text, classes } of spans) {
      const shown = text.slice(0, left);
      left -= shown.length;
      if (!classes) element.append(shown);
      else {
        const part = document.createElement("span");
        part.className = classes;
        part.textContent = shown;
        element.append(part);
      }
      if (left <= 0) {
        element.append("…");
        break;
      }
    }
    return element;
  }

  async loadEarlier() {
    const from = Math.max(0, this.start - PAGE_BYTES);
    const response = await fetch(this.url(from), {
      headers: { Range: `bytes=0-${this.start - from - 1}` },
    });
    if (!response.ok) return void ($("log-earlier").hidden = true);
    const bytes = new Uint8Array(await response.arrayBuffer());
    const cut = from ? bytes.indexOf(10) + 1 : 0;
    this.start = from + cut;
    const style = this.style;
    this.style = DEFAULT_STYLE;
    const lines = new TextDecoder().decode(bytes.subarray(cut)).split("\n");
    lines.pop();
    const classify = classifyLines();
    const height = this.view.scrollHeight;
    this.setFollowing(false);
    this.view.prepend(...lines.map((line) => this.element(line, classify)));
    this.style = style;
    while (this.view.childElementCount > MAX_LINES) {
      this.view.lastElementChild.remove();
      this.detached = true;
    }
    this.view.scrollTop += this.view.scrollHeight - height;
    $("log-earlier").hidden = this.start === 0;
  }

  setFollowing(following) {
    this.following = following;
    $("log-follow").setAttribute("aria-pressed", following);
    if (following) this.view.scrollTop = this.view.scrollHeight;
  }

  onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.view;
    const atEnd = scrollHeight - scrollTop - clientHeight < 24;
    if (!this.detached && atEnd !== this.following) {
      this.following = atEnd;
      $("log-follow").setAttribute("aria-pressed", atEnd);
    }
  }

  /** Marks the lines that contain the text; the newest match is the current one. */
  search(move = true) {
    const wanted = $("log-search").value.toLowerCase();
    let count = 0;
    for (const line of this.view.children) {
      const found = wanted !== "" && line.textContent.toLowerCase().includes(wanted);
      line.classList.toggle("match", found);
      count += found ? 1 : 0;
    }
    const plural = count === 1 ? "line" : "lines";
    setText($("log-matches"), wanted ? `${count.toLocaleString("en-US")} ${plural}` : "");
    if (move && count) this.moveToMatch(-1, true);
  }

  moveToMatch(step, fromEnd = false) {
    const found = [...this.view.querySelectorAll(".match")];
    if (!found.length) return;
    const current = found.findIndex((line) => line.classList.contains("current"));
    found[current]?.classList.remove("current");
    const next =
      fromEnd || current < 0 ? found.length - 1 : (current + step + found.length) % found.length;
    found[next].classList.add("current");
    this.setFollowing(false);
    this.view.scrollTop = found[next].offsetTop - this.view.offsetTop - this.view.clientHeight / 2;
  }
}
