// Encoders of frames. Each writes whole messages, header included.

import { coloursOf, sizeOf } from "./frames.js";
import { FRAME_HEADER, writeFrameHeader } from "./protocol.js";
import { Refusal } from "./refusal.js";

const BITS_PER_PIXEL = 0.15;
const FRAMES_PER_SECOND = 30;
const JPEG_QUALITY = 0.85;
const JPEG_COLOURS = { matrix: 0, range: 1 };
const LARGE = 1920 * 1088; // the most pixels of H.264's level 4

/** Choose a codec that this browser can encode: the one wished, or else the best. `failed` lists those not to take. */
export async function chooseCodec({ width, height, wished, isLocal, planes, failed }) {
  // On the same machine nothing needs to be compressed.
  const order = [...(wished ? [wished] : []), ...(isLocal ? ["i420"] : []), "vp8", "h264", "jpeg"];
  for (const codec of order) {
    if (failed.has(codec)) continue;
    if (codec === "i420" ? planes : codec === "jpeg" || (await isSupported(codec, width, height))) return codec;
  }
  throw new Refusal("This browser encodes none of VP8, H.264 and JPEG.");
}

/**
 * Make an encoder. It calls emit(number, message) for each frame, skip(number) for a frame that it leaves out, and
 * fail(reason) if it cannot go on.
 */
export function createEncoder(codec, events) {
  const kinds = { i420: PlainEncoder, jpeg: JpegEncoder };
  return new (kinds[codec] ?? VideoCodecEncoder)(codec, events);
}

async function isSupported(codec, width, height) {
  if (typeof VideoEncoder !== "function") return false;
  try {
    return (await VideoEncoder.isConfigSupported(configuration(codec, width, height))).supported;
  } catch {
    return false;
  }
}

function configuration(codec, width, height) {
  const names = { vp8: "vp8", vp9: "vp09.00.51.08", h264: width * height > LARGE ? "avc1.42E033" : "avc1.42E028" };
  return {
    codec: names[codec],
    width,
    height,
    framerate: FRAMES_PER_SECOND,
    bitrate: Math.round(width * height * FRAMES_PER_SECOND * BITS_PER_PIXEL),
    latencyMode: "realtime",
    ...(codec === "h264" ? { avc: { format: "annexb" } } : {}),
  };
}

/** I420 as it is. */
class PlainEncoder {
  #events;

  constructor(_codec, events) {
    this.#events = events;
  }

  encode({ planes, number }) {
    if (!planes) throw new Error("the frames are not in I420"); // of another camera
    writeFrameHeader(planes.message, { ...planes, number, key: true });
    this.#events.emit(number, planes.message);
  }

  restart() {}

  close() {}
}

/** Each frame a JPEG file, by a canvas: every browser has that. */
class JpegEncoder {
  #events;
  #context = document.createElement("canvas").getContext("2d", { alpha: false, willReadFrequently: true });

  constructor(_codec, events) {
    this.#events = events;
  }

  async encode({ frame, number }) {
    const { canvas } = this.#context;
    const { width, height } = sizeOf(frame);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    this.#context.drawImage(frame, 0, 0);
    const file = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
    if (!file) return this.#events.skip(number);
    const message = new Uint8Array(FRAME_HEADER + file.size);
    message.set(new Uint8Array(await file.arrayBuffer()), FRAME_HEADER);
    writeFrameHeader(message, { number, key: true, width, height, ...JPEG_COLOURS });
    this.#events.emit(number, message);
  }

  restart() {}

  close() {}
}

/** VP8, VP9 or H.264 by WebCodecs. */
class VideoCodecEncoder {
  #codec;
  #events;
  #encoder = null;
  #size = { width: 0, height: 0 };
  #colours = null;
  #numbers = new Map(); // by the frames' times

  constructor(codec, events) {
    this.#codec = codec;
    this.#events = events;
  }

  encode({ frame, number, key }) {
    const { width, height } = sizeOf(frame);
    if (!this.#encoder || width !== this.#size.width || height !== this.#size.height) {
      this.#configure(width, height);
      key = true;
    }
    this.#colours ??= coloursOf(frame.colorSpace);
    this.#numbers.set(frame.timestamp, number);
    this.#encoder.encode(frame, { keyFrame: key });
  }

  /** Forget the frames so far, as their times may be later than those to come. */
  restart() {
    this.close();
  }

  close() {
    if (this.#encoder && this.#encoder.state !== "closed") this.#encoder.close();
    this.#encoder = null;
    this.#numbers.clear();
  }

  #configure(width, height) {
    this.close();
    this.#size = { width, height };
    this.#colours = null;
    const encoder = new VideoEncoder({
      output: (chunk, metadata) => this.#encoder === encoder && this.#finish(chunk, metadata),
      error: (error) => this.#encoder === encoder && this.#events.fail(error.message),
    });
    encoder.configure(configuration(this.#codec, width, height));
    this.#encoder = encoder;
  }

  #finish(chunk, metadata) {
    const number = this.#numbers.get(chunk.timestamp);
    if (number === undefined) return;
    // An encoder in real time may leave frames out. It keeps the order, so those before this one do not come.
    for (const [time, each] of this.#numbers) {
      if (time < chunk.timestamp) this.#events.skip(each);
      if (time <= chunk.timestamp) this.#numbers.delete(time);
    }
    // Frames in RGB are converted by the encoder, which then names the colours.
    const space = metadata?.decoderConfig?.colorSpace;
    if (space?.matrix) this.#colours = coloursOf(space);
    const message = new Uint8Array(FRAME_HEADER + chunk.byteLength);
    chunk.copyTo(message.subarray(FRAME_HEADER));
    writeFrameHeader(message, { number, key: chunk.type === "key", ...this.#size, ...this.#colours });
    this.#events.emit(number, message);
  }
}
