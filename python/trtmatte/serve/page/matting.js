// A run: frames of a source go to the server, and each is drawn with its own alpha when that comes back.

import { decode } from "./answer.js";
import { chooseCodec, createEncoder } from "./encoder.js";
import { hasPlanes, PlaneReader, sizeOf, upright } from "./frames.js";
import { Live } from "./live.js";
import { Pace } from "./pace.js";
import { readAnswer } from "./protocol.js";

const UNANSWERED = 2; // at most: one under way and one waiting
const HELD = 4; // at most, those being decoded and drawn included
const SILENCE_MS = 30_000; // then the connection is given up
const ENCODING_MS = 1000; // then the encoder has left the frame out
const SLOW_MS = 200; // on the way
const SLOW_FRAMES = 20; // in a row

/**
 * Calls of `events`: status(sentence, kind), whose kind is busy, live or problem; drawn() after each frame; and
 * ended(sentence, kind), whose kind is end, problem or policy.
 */
export class Matting {
  #compositor;
  #statistics;
  #events;
  #source;
  #wishes;
  #live = null;
  #encoder = null;
  #codec = "";
  #failed = new Set();
  #reader = new PlaneReader();
  #held = new Map(); // by number: {number, arrived, slot, sent, isAnswered}
  #number = 0;
  #isOpening = false;
  #isSending = false;
  #isClosed = false;
  #wantsKey = true;
  #slow = 0;
  #pace = new Pace();
  #drawing = Promise.resolve();

  /** `wishes`: {model, foreground, token(), codec, alpha, isLocal, measure}. */
  constructor(source, wishes, { compositor, statistics, events }) {
    this.#wishes = wishes;
    this.#compositor = compositor;
    this.#statistics = statistics;
    this.#events = events;
    this.#use(source);
  }

  /** Take another model or the foreground, which needs a new connection. */
  async change(wishes) {
    Object.assign(this.#wishes, wishes);
    if (!this.#live) return;
    this.#source.pause();
    this.#events.status("Connecting again …", "busy");
    await this.#disconnect();
    this.#source.poke();
  }

  /** Take another camera. */
  swap(source) {
    this.#source.close();
    this.#forgetAll();
    this.#encoder?.restart();
    this.#wantsKey = true;
    this.#live?.reset();
    this.#use(source);
  }

  close() {
    this.#isClosed = true;
    this.#source.close();
    return this.#disconnect();
  }

  #use(source) {
    this.#source = source;
    source.onend = (sentence, kind) => source === this.#source && this.#finish(sentence, kind);
    source.run((frame, arrived) => this.#take(frame, arrived, source));
  }

  /** Draw what is still on its way, then end. */
  async #finish(sentence, kind) {
    const end = performance.now() + 1000;
    while (this.#held.size && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
    if (!this.#isClosed) this.#events.ended(sentence, kind);
  }

  async #take(frame, arrived, source) {
    this.#pace.frame(arrived);
    if (this.#isClosed || source !== this.#source) return frame.close();
    if (!this.#live) return this.#open(frame);
    if (!this.#live.isReady) return frame.close();
    this.#watch(arrived);
    if (this.#isSending || !this.#hasRoom(arrived)) {
      this.#statistics.dropped += 1;
      return frame.close();
    }
    this.#isSending = true;
    try {
      await this.#send(upright(frame), arrived);
    } catch (error) {
      this.#fallBack(error.message);
    } finally {
      this.#isSending = false;
    }
  }

  #hasRoom(now) {
    const unanswered = this.#unanswered;
    return this.#held.size < HELD && unanswered < UNANSWERED && (unanswered === 0 || this.#pace.isNear(now));
  }

  get #unanswered() {
    return [...this.#held.values()].filter((each) => !each.isAnswered).length;
  }

  async #send(frame, arrived) {
    const held = { number: (this.#number += 1), arrived, slot: null, sent: 0, isAnswered: false };
    if (!this.#unanswered) this.#pace.begin(arrived);
    this.#held.set(held.number, held);
    try {
      const wantsPlanes = this.#codec === "i420" || this.#compositor.wantsPlanes;
      const planes = wantsPlanes && hasPlanes(frame) ? await this.#reader.read(frame) : null;
      if (!this.#held.has(held.number)) return; // stopped, or the connection was lost
      const key = this.#wantsKey;
      this.#wantsKey = false;
      const encoded = this.#encoder.encode({ frame, planes, number: held.number, key });
      held.slot = this.#compositor.keep(frame, planes); // while the encoder and the server work
      if (planes) this.#reader.release(planes);
      await encoded;
    } finally {
      frame.close();
    }
  }

  /** The first frame tells what can be encoded. */
  async #open(frame) {
    if (this.#isOpening) return frame.close();
    this.#isOpening = true;
    try {
      const { codec: wished, alpha, isLocal, model, foreground, token } = this.#wishes;
      const seen = upright(frame);
      const traits = { ...sizeOf(seen), planes: hasPlanes(seen) };
      seen.close();
      this.#codec = await chooseCodec({ ...traits, wished, isLocal, failed: this.#failed });
      if (this.#isClosed) return;
      const form = alpha || (isLocal ? "raw" : "png");
      const known = { model: model || undefined, token: token() || undefined };
      const hello = { ...known, codec: this.#codec, alpha: form, foreground };
      this.#encoder = createEncoder(this.#codec, this.#encoderEvents());
      this.#live = new Live(hello, this.#liveEvents());
      this.#statistics.codec = `${this.#codec}, ${form}`;
      this.#events.status("Waiting for the server …", "busy");
    } catch (error) {
      if (!this.#isClosed) this.#events.ended(error.message, "problem");
    } finally {
      this.#isOpening = false;
    }
  }

  #encoderEvents() {
    return {
      emit: (number, message) => {
        const held = this.#held.get(number);
        if (!held || !this.#live?.isReady) return;
        held.sent = performance.now();
        this.#live.send(message);
      },
      skip: (number) => this.#drop(number),
      fail: (reason) => this.#fallBack(reason),
    };
  }

  #liveEvents() {
    return {
      ready: () => {
        this.#forgetAll();
        this.#encoder.restart();
        this.#wantsKey = true;
        const isLast = this.#codec === "jpeg" && !this.#wishes.codec;
        const lack = isLast ? " This browser encodes no video, so each frame is sent as a JPEG." : "";
        this.#events.status(`Live.${lack}`, "live");
        this.#source.play();
      },
      key: () => (this.#wantsKey = true),
      answer: (buffer) => this.#answer(readAnswer(buffer)),
      lost: (sentence) => {
        this.#source.pause();
        this.#forgetAll();
        this.#events.status(sentence, "problem");
      },
      ended: (sentence, kind) => this.#events.ended(sentence, kind),
    };
  }

  #answer(answer) {
    const held = this.#held.get(answer.number);
    if (!held) return; // of a frame before the last start
    if (answer.dropped) return this.#drop(answer.number);
    const now = performance.now();
    held.isAnswered = true;
    this.#pace.answer(now);
    this.#weigh(now - held.sent - answer.networkMs);
    const pictures = decode(answer);
    this.#drawing = this.#drawing
      .then(() => this.#draw(held, answer, pictures))
      .catch((error) => {
        console.warn(`a frame could not be drawn: ${error.message}`);
        this.#held.delete(held.number);
        this.#statistics.dropped += 1;
      });
  }

  async #draw(held, answer, pictures) {
    const [alpha, foreground] = pictures instanceof Promise ? await pictures : pictures;
    if (this.#held.get(held.number) === held && held.slot) {
      this.#held.delete(held.number);
      if (await this.#compositor.show(held.slot, alpha, foreground)) {
        if (this.#wishes.measure) this.#compositor.finish();
        const now = performance.now();
        this.#statistics.size = `${held.slot.width} × ${held.slot.height}`;
        this.#statistics.add(held.number, now - held.arrived, answer.networkMs, now);
        this.#events.drawn();
      }
    }
    foreground?.close();
  }

  #drop(number) {
    const held = this.#held.get(number);
    if (!held) return;
    this.#held.delete(number);
    this.#compositor.release(held.slot);
    this.#statistics.dropped += 1;
  }

  #forgetAll() {
    for (const { slot } of this.#held.values()) this.#compositor.release(slot);
    this.#held.clear();
    this.#pace = new Pace();
    this.#slow = 0;
  }

  /** Look, at each frame, for what has come to a halt. */
  #watch(now) {
    const [oldest] = this.#held.values();
    if (oldest && !oldest.sent && now - oldest.arrived > ENCODING_MS) this.#drop(oldest.number);
    else if (oldest && now - oldest.arrived > SILENCE_MS) this.#live.reopen("The server does not answer.");
  }

  /** Look for a way that is too slow for plain frames: localhost may be the near end of a tunnel. */
  #weigh(onTheWay) {
    this.#slow = onTheWay > SLOW_MS ? this.#slow + 1 : 0;
    if (this.#slow < SLOW_FRAMES || this.#codec !== "i420" || this.#wishes.codec) return;
    this.#wishes.isLocal = false;
    this.change({});
  }

  #fallBack(reason) {
    console.warn(`${this.#codec} failed: ${reason}`);
    this.#failed.add(this.#codec);
    this.change({});
  }

  async #disconnect() {
    const [live, encoder] = [this.#live, this.#encoder];
    this.#forgetAll();
    encoder?.close();
    await live?.close(); // the server must let go of the slot before it can give it again
    if (this.#live === live) this.#live = null;
  }
}
