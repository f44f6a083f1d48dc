// Follow events: by socket; after three failures by server-sent events; then by asking.
// However often the line breaks, the one who listens names the newest seq that it has.

const FIRST_PAUSE = 250,
  LONGEST_PAUSE = 8000,
  PULSE = 5000,
  SILENCE = 12000,
  ASK = 2000,
  TRY_AGAIN = 15000;
const SOCKETS = 3,
  STREAMS = 2;
const FINAL = {
  4401: "signed out: reload to sign in",
  4403: "refused by the server",
  4404: "this job is gone",
};

/** How to connect after so many failures in a row. */
export function way(failures, hasStream) {
  if (failures < SOCKETS) return "socket";
  if (hasStream && failures < SOCKETS + STREAMS) return "stream";
  return failures % 2 ? "socket" : "ask";
}

/** Longer after each failure, and never all pages at the same moment. */
export function pause(failures, random = Math.random) {
  return Math.min(FIRST_PAUSE * 2 ** Math.max(0, failures - 1), LONGEST_PAUSE) * (0.5 + random());
}

export class Line {
  /**
   * `socket()`, `stream()`: addresses that name the newest seq; `ask()`: fetches what is new.
   * `onFrame(frame)` hears each event, `onState({state, words, heard})` how the line is.
   */
  constructor({ socket, stream = null, ask, onFrame, onState }) {
    Object.assign(this, { socket, stream, ask, onFrame, onState });
    this.failures = 0;
    this.heard = 0;
    this.timer = null;
    this.ended = false;
    this.open = null;
    addEventListener("online", () => this.atOnce());
    document.addEventListener("visibilitychange", () => !document.hidden && this.atOnce());
    setInterval(() => this.say(), 1000);
    this.connect();
  }

  /** Someone looks, or the network is back: do not wait for the pause to end. */
  atOnce() {
    if (this.ended || this.timer === null) return;
    clearTimeout(this.timer);
    this.connect();
  }

  connect() {
    this.timer = null;
    const by = way(this.failures, this.stream !== null);
    ({ socket: () => this.bySocket(), stream: () => this.byStream(), ask: () => this.byAsking() })[
      by
    ]();
  }

  /** Something to the server, where a socket is open. */
  tell(action) {
    if (this.open === "socket") this.wire.send(JSON.stringify(action));
  }

  say(state = this.state, words = this.words) {
    this.state = state;
    this.words = words;
    if (state) this.onState({ state, words, heard: this.heard });
  }

  took(frame) {
    this.heard = Date.now();
    if (frame.event === "connected") {
      this.failures = 0;
      this.say(
        this.open === "socket" ? "live" : "slow",
        this.open === "socket" ? "Live" : "Live by stream",
      );
    }
    if (frame.event !== "pong") this.onFrame(frame);
  }

  failed() {
    if (this.ended || this.timer !== null) return;
    this.open = null;
    this.failures += 1;
    const wait = pause(this.failures);
    this.say("waiting", "Reconnecting");
    this.timer = setTimeout(() => this.connect(), wait);
  }

  end(words) {
    this.ended = true;
    this.say("ended", words);
  }

  bySocket() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}${this.socket()}`);
    const began = Date.now();
    this.open = "socket";
    this.wire = socket;
    // A line that died without a word is noticed by its silence.
    const pulse = setInterval(() => {
      if (Date.now() - Math.max(this.heard, began) > SILENCE) socket.close();
      else if (socket.readyState === 1) socket.send('{"action":"ping"}');
    }, PULSE);
    socket.onmessage = (message) => this.took(JSON.parse(message.data));
    socket.onclose = ({ code }) => {
      clearInterval(pulse);
      if (FINAL[code]) this.end(FINAL[code]);
      else this.failed();
    };
  }

  byStream() {
    const source = new EventSource(this.stream());
    this.open = "stream";
    source.onmessage = (message) => this.took(JSON.parse(message.data));
    source.addEventListener("pulse", () => (this.heard = Date.now()));
    source.onerror = () => {
      source.close();
      this.failed();
    };
  }

  async byAsking() {
    const until = Date.now() + TRY_AGAIN;
    this.open = "ask";
    try {
      while (Date.now() < until) {
        await this.ask();
        this.heard = Date.now();
        this.say("slow", "Asking every 2 s");
        await new Promise((resolve) => setTimeout(resolve, ASK));
      }
      this.failures = SOCKETS - 1;
      this.connect();
    } catch {
      this.failed();
    }
  }
}

/** The line's state in words, with the age of what is shown. */
export function showState(element) {
  return ({ state, words, heard }) => {
    const age = heard ? Math.round((Date.now() - heard) / 1000) : null;
    const said =
      state === "ended" || age === null
        ? words
        : `${words} · ${state === "waiting" ? "data " : ""}${age} s old`;
    if (element.dataset.state !== state) element.dataset.state = state;
    if (element.textContent !== said) element.textContent = said;
  };
}
