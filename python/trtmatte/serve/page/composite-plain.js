// The compositor for machines without a graphics card, which draws with a 2D canvas. WebGL would be computed by the
// processor there, and takes ten times as long.

import { covering, kindOf, NO_BACKGROUND, sigmaOf } from "./background.js";
import { isVideoFrame, sizeOf } from "./frames.js";

const SHRINK = 8; // the blurred picture is smaller by this
const TRACE = 0.03; // of the subject stays in the blurred picture, for where there is nothing else
const COLOUR = 0x00ffffff; // the part of a pixel that is not alpha
const OPAQUE = 0xff000000;

export class PlainCompositor {
  wantsPlanes = false;
  background = NO_BACKGROUND;
  mirror = false;
  onrestored = () => {};
  #context;
  #subject = surface(); // the subject alone
  #reading = surface({ willReadFrequently: true });
  #small = surface();
  #soft = surface({ willReadFrequently: true });
  #free = []; // slots
  #shown = null;

  constructor(canvas) {
    this.#context = canvas.getContext("2d");
  }

  get isEmpty() {
    return this.#shown === null;
  }

  close() {}

  keep(frame) {
    const { width, height } = sizeOf(frame);
    let slot = this.#free.pop();
    if (slot?.width !== width || slot.height !== height) slot = newSlot(width, height);
    slot.ready = this.#read(frame, slot);
    return slot;
  }

  release(slot) {
    if (slot && !slot.isReading && this.#free.length < 3) this.#free.push(slot);
  }

  async show(slot, alpha, foreground) {
    await slot.ready;
    const previous = this.#shown;
    if (foreground) this.#readPicture(foreground, slot.image);
    const pixels = slot.pixels;
    const bytes = alpha.bytes;
    if (bytes.length !== pixels.length) throw new Error("the alpha has another size than the frame");
    for (let i = 0; i < pixels.length; i += 1) pixels[i] = (pixels[i] & COLOUR) | (bytes[i] << 24);
    this.#shown = slot;
    if (previous) this.release(previous);
    this.redraw();
    return true;
  }

  redraw() {
    if (!this.#shown) return;
    const { image, width, height } = this.#shown;
    const context = this.#context;
    resize(context, width, height);
    const kind = kindOf(this.background);
    if (kind === "none" && !this.mirror) return context.putImageData(image, 0, 0);
    resize(this.#subject, width, height);
    this.#subject.putImageData(image, 0, 0);
    context.clearRect(0, 0, width, height);
    if (kind === "colour") {
      context.fillStyle = `rgb(${this.background.colour})`;
      context.fillRect(0, 0, width, height);
    } else if (kind === "picture") {
      context.imageSmoothingQuality = "high";
      context.drawImage(this.background.picture, ...covering(this.background.picture, width, height));
    }
    if (this.mirror) context.setTransform(-1, 0, 0, 1, width, 0);
    if (kind === "blur") this.#drawBlurred();
    context.drawImage(this.#subject.canvas, 0, 0);
    context.resetTransform();
  }

  finish() {
    this.#context.getImageData(0, 0, 1, 1);
  }

  pixels() {
    if (!this.#shown) return null;
    const { image, width, height } = this.#shown;
    if (kindOf(this.background) !== "none") {
      const shown = { width, height, data: new Uint8ClampedArray(width * height * 4) };
      this.#readPicture(this.#context.canvas, shown);
      return shown;
    }
    const data = new Uint8ClampedArray(image.data);
    const pixels = new Uint32Array(data.buffer);
    // Where nothing of the subject is there is no colour, so the room stays out.
    for (let i = 0; i < pixels.length; i += 1) if (!(pixels[i] & OPAQUE)) pixels[i] = 0;
    for (let at = 0; this.mirror && at < pixels.length; at += width) pixels.subarray(at, at + width).reverse();
    return { width, height, data };
  }

  /** Draw the blurred frame. The subject is taken out first, or it would glow. */
  #drawBlurred() {
    const { image, width, height } = this.#shown;
    const [w, h] = [Math.ceil(width / SHRINK), Math.ceil(height / SHRINK)];
    const [whole, small, soft] = [this.#reading, this.#small, this.#soft];
    const frame = new ImageData(new Uint8ClampedArray(image.data), width, height);
    makeOpaque(frame);
    resize(whole, width, height);
    whole.putImageData(frame, 0, 0);
    resize(small, w, h);
    resize(soft, w, h);
    small.clearRect(0, 0, w, h);
    small.drawImage(whole.canvas, 0, 0, w, h);
    small.globalCompositeOperation = "destination-out";
    small.drawImage(this.#subject.canvas, 0, 0, w, h);
    small.globalCompositeOperation = "destination-over";
    small.globalAlpha = TRACE;
    small.drawImage(whole.canvas, 0, 0, w, h);
    small.globalAlpha = 1;
    small.globalCompositeOperation = "source-over";
    soft.clearRect(0, 0, w, h);
    soft.filter = `blur(${sigmaOf(this.background.strength, h)}px)`;
    soft.drawImage(small.canvas, 0, 0);
    const blurred = soft.getImageData(0, 0, w, h); // divides the colours by alpha
    makeOpaque(blurred);
    soft.putImageData(blurred, 0, 0);
    this.#context.drawImage(soft.canvas, 0, 0, width, height);
  }

  /** Read a frame as RGBA while the server works. */
  async #read(frame, slot) {
    if (!isVideoFrame(frame)) return this.#readPicture(frame, slot.image);
    const copy = frame.clone(); // as the frame is closed meanwhile
    slot.isReading = true;
    try {
      await copy.copyTo(slot.image.data, { format: "RGBA" });
    } catch {
      this.#readPicture(copy, slot.image); // browsers that copy no RGBA
    } finally {
      slot.isReading = false;
      copy.close();
    }
  }

  #readPicture(picture, image) {
    const { width, height } = image;
    resize(this.#reading, width, height);
    this.#reading.drawImage(picture, 0, 0, width, height);
    image.data.set(this.#reading.getImageData(0, 0, width, height).data);
  }
}

function newSlot(width, height) {
  const image = new ImageData(width, height);
  return { width, height, image, pixels: new Uint32Array(image.data.buffer), isReading: false, ready: null };
}

function makeOpaque({ data }) {
  const pixels = new Uint32Array(data.buffer);
  for (let i = 0; i < pixels.length; i += 1) pixels[i] |= OPAQUE;
}

function surface(options) {
  return document.createElement("canvas").getContext("2d", options);
}

function resize({ canvas }, width, height) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}
