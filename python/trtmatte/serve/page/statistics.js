// What is measured of the live stream.

const SPAN_MS = 5000;
const KEPT = 600; // frames

export class Statistics {
  frames = 0;
  dropped = 0;
  lastDrawn = -1;
  size = "";
  codec = "";
  #drawn = []; // {time, latency, networkMs}, the oldest first

  /** A new run begins. */
  reset() {
    this.frames = 0;
    this.dropped = 0;
    this.lastDrawn = -1;
    this.#drawn = [];
  }

  add(number, latency, networkMs, time) {
    this.frames += 1;
    this.lastDrawn = number;
    this.#drawn.push({ time, latency, networkMs });
    if (this.#drawn.length > KEPT) this.#drawn.shift();
  }

  /** Of the last frames: milliseconds from arrival until it was drawn, and those of the network and the matte. */
  get times() {
    return this.#drawn.map((each) => [each.latency, each.networkMs]);
  }

  /** Sum up the last seconds before a time. */
  summary(now) {
    const recent = this.#drawn.filter((each) => each.time > now - SPAN_MS);
    const span = recent.length > 1 ? recent.at(-1).time - recent[0].time : 0;
    const latencies = recent.map((each) => each.latency);
    return {
      p50: percentile(latencies, 0.5),
      p95: percentile(latencies, 0.95),
      networkMs: percentile(recent.map((each) => each.networkMs), 0.5),
      rate: span ? ((recent.length - 1) * 1000) / span : 0,
    };
  }
}

function percentile(values, part) {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted.length ? sorted[Math.ceil(part * sorted.length) - 1] : 0;
}
