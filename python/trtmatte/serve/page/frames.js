// What a camera's frame holds: its planes, its colours, its orientation.

import { FRAME_HEADER } from "./protocol.js";

const BT601 = 0;
const BT709 = 1;
const BT709_MATRICES = ["bt709", "bt2020-ncl"]; // there is no third: BT.2020 is nearer to BT.709

export function isVideoFrame(frame) {
  return typeof VideoFrame === "function" && frame instanceof VideoFrame;
}

/** The size of a VideoFrame or an ImageBitmap. */
export function sizeOf(frame) {
  return isVideoFrame(frame)
    ? { width: frame.visibleRect.width, height: frame.visibleRect.height }
    : { width: frame.width, height: frame.height };
}

/** The matrix and the range of a VideoColorSpace. Browsers take frames that do not name theirs as BT.601, limited. */
export function coloursOf(space) {
  return { matrix: BT709_MATRICES.includes(space?.matrix) ? BT709 : BT601, range: space?.fullRange ? 1 : 0 };
}

export function hasPlanes(frame) {
  return isVideoFrame(frame) && (frame.format === "I420" || frame.format === "NV12");
}

/** The bytes of frames as I420, each with room for the header of its message. Buffers are used again. */
export class PlaneReader {
  #spare = [];
  #chroma = new Uint8Array(0);

  /** Copy the planes of a frame; `hasPlanes(frame)` must be true. */
  async read(frame) {
    const { width, height } = sizeOf(frame);
    const luma = width * height;
    const chromaWidth = (width + 1) >> 1;
    const chroma = chromaWidth * ((height + 1) >> 1);
    const message = this.#buffer(FRAME_HEADER + luma + 2 * chroma);
    const first = { offset: FRAME_HEADER, stride: width };
    const blueAt = FRAME_HEADER + luma;
    if (frame.format === "I420") {
      const second = { offset: blueAt, stride: chromaWidth };
      await frame.copyTo(message, { layout: [first, second, { offset: blueAt + chroma, stride: chromaWidth }] });
    } else {
      await frame.copyTo(message, { layout: [first, { offset: blueAt, stride: 2 * chromaWidth }] });
      this.#part(message.subarray(blueAt), chroma);
    }
    return { message, width, height, chromaWidth, ...coloursOf(frame.colorSpace) };
  }

  /** Take a buffer back. */
  release(planes) {
    if (this.#spare.length < 2) this.#spare.push(planes.message);
  }

  /** NV12 has blue and red in turn; I420 has them one after the other. */
  #part(bytes, length) {
    if (this.#chroma.length !== 2 * length) this.#chroma = new Uint8Array(2 * length);
    const mixed = this.#chroma;
    mixed.set(bytes.subarray(0, 2 * length));
    for (let i = 0, j = 0; i < length; i += 1, j += 2) {
      bytes[i] = mixed[j];
      bytes[length + i] = mixed[j + 1];
    }
  }

  #buffer(length) {
    const spare = this.#spare.pop();
    return spare?.length === length ? spare : new Uint8Array(length);
  }
}

let turning = null;

/** The frame as it is to be seen: encoders know neither rotation nor pixels that are not square. Takes the frame. */
export function upright(frame) {
  if (!isVideoFrame(frame)) return frame;
  const { displayWidth: width, displayHeight: height, visibleRect, timestamp } = frame;
  const isSquare = width === visibleRect.width && height === visibleRect.height;
  if (isSquare && !frame.rotation && !frame.flip) return frame;
  turning ??= new OffscreenCanvas(width, height).getContext("2d", { alpha: false });
  if (turning.canvas.width !== width) turning.canvas.width = width;
  if (turning.canvas.height !== height) turning.canvas.height = height;
  turning.drawImage(frame, 0, 0, width, height);
  frame.close();
  return new VideoFrame(turning.canvas, { timestamp });
}
