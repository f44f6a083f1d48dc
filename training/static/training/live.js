// Receives events by WebSocket, after three failures by server-sent events, then by polling.
// Each request names the newest seq that the page has, so no event is lost between connections.

import { basePath } from "./base_path.js";

const MIN_RETRY_DELAY = 250,
  MAX_RETRY_DELAY = 8000,
  PING_INTERVAL = 5000,
  SILENCE_TIMEOUT = 12000,
  EXPECTED_WITHIN = PING_INTERVAL + 2500, // a pong, a pulse or a response
  POLL_INTERVAL = 2000,
  POLL_DURATION = 15000; // then try a connection again
const SOCKET_ATTEMPTS = 3,
  STREAM_ATTEMPTS = 2;
/** Close codes after which the page does not reconnect. */
const FINAL_CLOSE_CODES = {
  4401: "Signed out. Reload to sign in.",
  4403: "Access denied.",
  4404: "This job was deleted.",
};

const OFFLINE = "Offline: this browser has no network.",
  SILENT = "No data from the server.",
  UNREACHABLE = "Reconnecting: the server does not respond.";

/** The reason why a request failed: `fetch` rejects with a TypeError if it got no response. */
export function failureReason(error) {
  if (!(error instanceof TypeError)) return error.message;
  return navigator.onLine ? "the server is unreachable." : "this browser is offline.";
}

/** The transport to use after this many failures in a row. */
export function chooseTransport(failures, hasStream) {
  if (failures < SOCKET_ATTEMPTS) return "socket";
  if (hasStream && failures < SOCKET_ATTEMPTS + STREAM_ATTEMPTS) return "stream";
  return failures % 2 ? "socket" : "poll";
}

/** Exponential backoff in ms, with jitter so that pages do not reconnect all at once. */
export function retryDelay(failures, random = Math.random) {
  return (
    Math.min(MIN_RETRY_DELAY * 2 ** Math.max(0, failures - 1), MAX_RETRY_DELAY) * (0.5 + random())
  );
}

export class EventConnection {
  /**
   * `socketUrl()`, `streamUrl()`: URLs that name the newest seq; `fetchNew()`: fetches the newer
   * events; `onFrame(frame)` receives each event, `onState({state, label, lastFrameAt})` each
   * change of the connection.
   */
  constructor({ socketUrl, streamUrl = null, fetchNew, onFrame, onState }) {
    Object.assign(this, { socketUrl, streamUrl, fetchNew, onFrame, onState });
    this.failures = 0;
    this.lastFrameAt = 0;
    this.timer = null;
    this.ended = false;
    this.transport = null;
    // An offline browser is shown as such, and neither the server nor the worker as silent.
    addEventListener("offline", () => this.ended || this.setState("waiting", OFFLINE));
    addEventListener("online", () => this.reopen());
    document.addEventListener("visibilitychange", () => !document.hidden && this.retryNow());
    setInterval(() => this.setState(), 1000);
    this.connect();
  }

  /** Skip the rest of the delay: the page became visible, or the network is back. */
  retryNow() {
    if (this.ended || this.timer === null) return;
    clearTimeout(this.timer);
    this.connect();
  }

  /** After the browser was offline, a broken connection may still look open. */
  reopen() {
    if (this.timer !== null) return this.retryNow();
    if (this.transport === "socket") this.socket.close();
    else if (this.transport === "stream") this.source.onerror();
  }

  connect() {
    this.timer = null;
    const transport = chooseTransport(this.failures, this.streamUrl !== null);
    if (transport === "socket") this.openSocket();
    else if (transport === "stream") this.openStream();
    else this.poll();
  }

  /** Sends an action to the server; only a socket can. */
  send(action) {
    if (this.transport === "socket") this.socket.send(JSON.stringify(action));
  }

  setState(state = this.state, label = this.label) {
    this.state = state;
    this.label = label;
    if (!state) return;
    const isConnected = state === "live" || state === "slow";
    // A connection that was cut without a close frame looks open until SILENCE_TIMEOUT.
    const shown =
      isConnected && Date.now() - this.lastFrameAt > EXPECTED_WITHIN
        ? { state: "waiting", label: SILENT }
        : { state, label };
    this.onState({ ...shown, lastFrameAt: this.lastFrameAt });
  }

  receive(frame) {
    this.lastFrameAt = Date.now();
    if (frame.event === "connected") this.failures = 0;
    if (frame.event === "connected" || this.label === OFFLINE) {
      if (this.transport === "socket") this.setState("live", "Live");
      else this.setState("slow", "Live (SSE)");
    }
    if (frame.event !== "pong") this.onFrame(frame);
  }

  reconnectLater() {
    if (this.ended || this.timer !== null) return;
    this.transport = null;
    this.failures += 1;
    this.setState("waiting", navigator.onLine ? UNREACHABLE : OFFLINE);
    this.timer = setTimeout(() => this.connect(), retryDelay(this.failures));
  }

  end(label) {
    this.ended = true;
    this.setState("ended", label);
  }

  openSocket() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}${basePath}${this.socketUrl()}`);
    const openedAt = Date.now();
    this.transport = "socket";
    this.socket = socket;
    // A connection that broke without a close frame is detected by the missing pong.
    const ping = setInterval(() => {
      if (Date.now() - Math.max(this.lastFrameAt, openedAt) > SILENCE_TIMEOUT) socket.close();
      else if (socket.readyState === 1) socket.send('{"action":"ping"}');
    }, PING_INTERVAL);
    socket.onmessage = (message) => this.receive(JSON.parse(message.data));
    socket.onclose = ({ code }) => {
      clearInterval(ping);
      if (FINAL_CLOSE_CODES[code]) this.end(FINAL_CLOSE_CODES[code]);
      else this.reconnectLater();
    };
  }

  openStream() {
    const source = new EventSource(this.streamUrl());
    this.transport = "stream";
    this.source = source;
    source.onmessage = (message) => this.receive(JSON.parse(message.data));
    source.addEventListener("pulse", () => (this.lastFrameAt = Date.now()));
    source.onerror = () => {
      source.close();
      this.reconnectLater();
    };
  }

  async poll() {
    const until = Date.now() + POLL_DURATION;
    this.transport = "poll";
    try {
      while (Date.now() < until) {
        await this.fetchNew();
        this.lastFrameAt = Date.now();
        this.setState("slow", `Polling every ${POLL_INTERVAL / 1000} s`);
        await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL));
      }
      this.failures = SOCKET_ATTEMPTS - 1;
      this.connect();
    } catch {
      this.reconnectLater();
    }
  }
}

/**
 * Shows the state of the connection, and while it is broken also the age of the data. `element` is a
 * live region: its text changes with the state only, and the age, which counts, is outside of it.
 */
export function showState(element) {
  const ageElement = Object.assign(document.createElement("span"), { className: "live-age" });
  element.after(ageElement);
  return ({ state, label, lastFrameAt }) => {
    const age = lastFrameAt ? Math.round((Date.now() - lastFrameAt) / 1000) : null;
    const ageText = state === "waiting" && age !== null ? `Last update ${age} s ago` : "";
    const title = state === "ended" || age === null ? "" : `Updated ${age} s ago`;
    if (element.dataset.state !== state) element.dataset.state = state;
    if (element.textContent !== label) element.textContent = label;
    if (ageElement.textContent !== ageText) ageElement.textContent = ageText;
    if (element.title !== title) element.title = title;
  };
}
