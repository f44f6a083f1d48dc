// Follow events over a socket: every seq once and in order, however often the line breaks.

const FIRST_PAUSE = 250, LONGEST_PAUSE = 5000, SILENCE = 25000;
const FINAL_CODES = {
  4401: "signed out: reload to sign in",
  4403: "refused by the server",
  4404: "this job is gone",
};

/** `path()` is asked anew at each connection, so it can name the newest seq that is known. */
export function follow(path, onFrame, onState) {
  let pause = FIRST_PAUSE;

  function connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}${path()}`);
    let heard = Date.now();
    // A line that died without a word is noticed by its silence.
    const pulse = setInterval(() => {
      if (Date.now() - heard > 2 * SILENCE) socket.close();
      else if (socket.readyState === 1) socket.send('{"action":"ping"}');
    }, SILENCE);
    socket.onmessage = (message) => {
      heard = Date.now();
      const frame = JSON.parse(message.data);
      if (frame.event === "connected") {
        pause = FIRST_PAUSE;
        onState("live", "live");
      }
      if (frame.event !== "pong") onFrame(frame);
    };
    socket.onclose = ({ code }) => {
      clearInterval(pulse);
      if (FINAL_CODES[code]) return onState("ended", FINAL_CODES[code]);
      onState("waiting", "reconnecting …");
      // Not all at once: a server that comes back would meet every page in the same moment.
      setTimeout(connect, pause * (0.5 + Math.random()));
      pause = Math.min(2 * pause, LONGEST_PAUSE);
    };
  }

  connect();
}

export function showState(element) {
  return (state, words) => {
    element.dataset.state = state;
    element.textContent = words;
  };
}
