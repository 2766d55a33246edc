/**
 * Decides if a second frame goes out while the first is under way. It waits for its turn at the server, so on a slow
 * machine it would be old by then. It goes out when the first is expected to be done within about one frame.
 */
export class Pace {
  #interval = 1000 / 30;
  #service = Infinity;
  #last = 0;
  #began = 0;

  frame(now) {
    const interval = now - this.#last;
    if (this.#last && interval < 200) this.#interval += 0.1 * (interval - this.#interval);
    this.#last = now;
  }

  begin(now) {
    this.#began = now;
  }

  answer(now) {
    const took = now - this.#began;
    this.#service = took < this.#service ? took : this.#service + 0.1 * (took - this.#service);
    this.#began = now;
  }

  isNear(now) {
    return now - this.#began > this.#service - this.#interval;
  }
}
