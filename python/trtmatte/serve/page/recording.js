// A recording of the canvas, as WebM with transparency where the browser can write it.

import { Refusal } from "./refusal.js";

const TYPES = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm", "video/mp4"];
const BITS_PER_PIXEL = 0.2;
const FRAMES_PER_SECOND = 30;
const PART_MS = 2000;
const ALPHA_MODE = [0x53, 0xc0, 0x81, 0x01]; // WebM's element AlphaMode, of one byte, with the value 1
const HEAD_BYTES = 4096; // it is in the description of the track, at the beginning

export class Recording {
  #recorder;
  #stream;
  #parts = [];
  #began = performance.now();

  constructor(canvas) {
    const type = globalThis.MediaRecorder && TYPES.find((each) => MediaRecorder.isTypeSupported(each));
    if (!type || !canvas.captureStream) throw new Refusal("This browser cannot record.");
    this.size = `${canvas.width} × ${canvas.height}`;
    this.#stream = canvas.captureStream();
    const rate = Math.round(canvas.width * canvas.height * FRAMES_PER_SECOND * BITS_PER_PIXEL);
    this.#recorder = new MediaRecorder(this.#stream, { mimeType: type, videoBitsPerSecond: rate });
    this.#recorder.ondataavailable = ({ data }) => this.#parts.push(data);
    this.#recorder.start(PART_MS); // in parts, which the browser may keep outside its memory
  }

  get seconds() {
    return (performance.now() - this.#began) / 1000;
  }

  /** End it. Returns the file, its name, and if it has transparency. */
  async finish() {
    if (this.#recorder.state !== "inactive") {
      const stopped = new Promise((resolve) => (this.#recorder.onstop = resolve));
      this.#recorder.stop();
      await stopped;
    }
    this.#stream.getTracks().forEach((each) => each.stop());
    const file = new Blob(this.#parts, { type: this.#recorder.mimeType });
    const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
    const isTransparent = head.some((_, at) => ALPHA_MODE.every((byte, index) => head[at + index] === byte));
    return { file, name: `trtmatte.${this.#recorder.mimeType.includes("mp4") ? "mp4" : "webm"}`, isTransparent };
  }
}
