// The connection to the server: it opens, says what is wanted, and comes back by itself when it is lost.

import { sentence } from "./refusal.js";

const PAUSES_S = [1, 2, 4, 8, 15];
const POLICY = 1008;
const TOO_BIG = 1009;
const FULL = 1013;
const FAILED = 1011;
const SHUTTING_DOWN = 1012;

/**
 * Calls of `events`: ready(answer) when frames may be sent, answer(buffer) for each answer, key() if the server needs a
 * key frame, lost(sentence) when it will try again, and ended(sentence, kind) when it will not; the kind is policy if
 * the server refused, else problem.
 */
export class Live {
  #events;
  #hello;
  #socket = null;
  #timer = 0;
  #failures = 0;
  #complaint = "";
  isReady = false;

  constructor(hello, events) {
    this.#hello = hello;
    this.#events = events;
    this.#connect();
  }

  send(message) {
    this.#socket.send(message);
  }

  /** Say that the next frames show something else. */
  reset() {
    if (this.isReady) this.send(JSON.stringify({ reset: true }));
  }

  /** Close. The promise is kept when the server has let go of the slot, or after a second. */
  close() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    this.isReady = false;
    if (!socket || socket.readyState === WebSocket.CLOSED) return Promise.resolve();
    socket.onmessage = null;
    return new Promise((resolve) => {
      socket.onclose = resolve;
      setTimeout(resolve, 1000);
      socket.close();
    });
  }

  /** Give the connection up and open a new one. */
  reopen(reason) {
    this.close();
    this.#retry(reason);
  }

  #connect() {
    const address = new URL("api/live", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify(this.#hello));
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") return this.#hear(JSON.parse(data));
      this.#failures = 0;
      this.#events.answer(data);
    };
    socket.onclose = (event) => this.#socket === socket && this.#closed(event);
    this.#socket = socket;
    this.#complaint = "";
  }

  #hear(message) {
    if (message.ready) {
      this.isReady = true;
      this.#events.ready(message);
    } else if (message.key) {
      this.#events.key();
    } else if (message.error) {
      this.#complaint = message.error;
    }
  }

  #closed({ code, reason }) {
    this.#socket = null;
    this.isReady = false;
    const said = sentence(reason || this.#complaint);
    if (code === POLICY) return this.#events.ended(said || "The server refused the connection.", "policy");
    if (code === TOO_BIG) return this.#events.ended(said || "The frames are too big for the server.", "problem");
    const sentences = {
      [FULL]: "All places on the server are taken.",
      [FAILED]: "The server failed.",
      [SHUTTING_DOWN]: "The server is shutting down.",
    };
    this.#retry(said || sentences[code] || "The connection to the server is lost.");
  }

  #retry(reason) {
    const pause = PAUSES_S[Math.min(this.#failures, PAUSES_S.length - 1)];
    this.#failures += 1;
    this.#events.lost(`${reason} Next try in ${pause} s.`);
    this.#timer = setTimeout(() => this.#connect(), pause * 1000);
  }
}
