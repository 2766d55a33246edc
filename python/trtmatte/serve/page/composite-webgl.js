// The compositor for graphics cards, by WebGL 2. A slot is a set of textures.

import { covering, kindOf, NO_BACKGROUND, sigmaOf } from "./background.js";
import { sizeOf } from "./frames.js";
import { FRAME_HEADER } from "./protocol.js";
import { compositeShader, shrinkShader, SOFTEN, VERTEX } from "./shaders.js";
import { Texture, Target, buildProgram } from "./webgl.js";

const SHRINK = 8; // the blurred picture is smaller by this
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;
const LUMA = [[0.299, 0.114], [0.2126, 0.0722]]; // red's and blue's part, of BT.601 and BT.709

export class WebGLCompositor {
  wantsPlanes = true; // uploading planes is many times quicker than uploading a VideoFrame
  background = NO_BACKGROUND;
  mirror = false;
  onrestored = () => {};
  #canvas;
  #gl;
  #generation = 0;
  #programs;
  #alpha;
  #foreground;
  #behind;
  #behindOf = null; // the picture and the size that #behind was made of
  #small;
  #free;
  #shown = null;

  /** A context of a canvas, or null if there is none. Without a graphics card there is none unless it `isWished`. */
  static context(canvas, isWished) {
    const options = { alpha: true, antialias: false, depth: false, powerPreference: "high-performance" };
    return isWished || hasGraphicsCard() ? canvas.getContext("webgl2", options) : null;
  }

  constructor(canvas, gl) {
    this.#canvas = canvas;
    this.#gl = gl;
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault(); // or it would never be restored
      this.#shown = null;
    });
    canvas.addEventListener("webglcontextrestored", () => {
      this.#build();
      this.onrestored();
    });
    this.#build();
  }

  get isEmpty() {
    return this.#shown === null;
  }

  close() {
    this.#gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  /** Upload a frame at once, or its planes where they are at hand. */
  keep(frame, planes) {
    const kind = planes ? "planes" : "picture";
    const slot = this.#free[kind].pop() ?? this.#slot(kind);
    if (planes) {
      const { message, width, height, chromaWidth, matrix, range } = planes;
      const chroma = chromaWidth * ((height + 1) >> 1);
      const at = FRAME_HEADER + width * height;
      slot.textures[0].bytes(message, width, height, FRAME_HEADER);
      slot.textures[1].bytes(message, chromaWidth, chroma / chromaWidth, at);
      slot.textures[2].bytes(message, chromaWidth, chroma / chromaWidth, at + chroma);
      Object.assign(slot, { width, height, matrix, range });
    } else {
      const { width, height } = sizeOf(frame);
      slot.textures[0].picture(frame, width, height);
      Object.assign(slot, { width, height });
    }
    return slot;
  }

  release(slot) {
    if (slot?.generation === this.#generation) this.#free[slot.kind].push(slot);
  }

  show(slot, alpha, foreground) {
    if (slot.generation !== this.#generation || this.#gl.isContextLost()) return false;
    if (this.#shown) this.release(this.#shown.slot);
    this.#shown = { slot, hasForeground: Boolean(foreground) };
    this.#alpha.bytes(alpha.bytes, alpha.width, alpha.height);
    this.#alpha.smooth(alpha.width !== slot.width || alpha.height !== slot.height);
    if (foreground) {
      this.#foreground.picture(foreground, foreground.width, foreground.height);
      this.#foreground.smooth(foreground.width !== slot.width || foreground.height !== slot.height);
    }
    this.redraw();
    return true;
  }

  redraw() {
    if (!this.#shown || this.#gl.isContextLost()) return;
    const { width, height } = this.#shown.slot;
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    this.#draw(null, kindOf(this.background));
  }

  /** Chromium's gl.finish() returns before all is drawn; reading a pixel does not. */
  finish() {
    const gl = this.#gl;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  }

  pixels() {
    if (!this.#shown) return null;
    const gl = this.#gl;
    const { width, height } = this.#shown.slot;
    const target = new Target(gl, width, height);
    const kind = kindOf(this.background);
    this.#draw(target, kind === "none" ? "straight" : kind);
    const data = new Uint8Array(width * height * 4);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
    target.delete();
    return { width, height, data };
  }

  #build() {
    const gl = this.#gl;
    this.#generation += 1;
    this.#programs = new Map();
    this.#free = { planes: [], picture: [] };
    this.#shown = null;
    this.#behindOf = null;
    this.#small = [];
    this.#alpha = new Texture(gl, "grey");
    this.#foreground = new Texture(gl, "colours");
    this.#behind = new Texture(gl, "colours");
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    gl.disable(gl.DITHER);
  }

  #slot(kind) {
    const textures = kind === "planes" ? ["grey", "grey", "grey"] : ["colours"];
    const slot = { kind, generation: this.#generation, textures: textures.map((each) => new Texture(this.#gl, each)) };
    if (kind === "planes") slot.textures.slice(1).forEach((each) => each.smooth(true)); // half the size
    return slot;
  }

  #draw(target, ending) {
    const gl = this.#gl;
    const { slot, hasForeground } = this.#shown;
    const isBlur = ending === "blur";
    if (isBlur) this.#blur();
    if (ending === "picture") this.#fitBackground(slot.width, slot.height);
    const source = hasForeground ? "picture" : slot.kind;
    const program = this.#program(`${source} ${ending}`, () => compositeShader(source, ending));
    program.use();
    if (hasForeground) program.texture("picture", this.#foreground);
    else this.#bindFrame(program, slot);
    program.texture("alpha", this.#alpha);
    program.texture("background", isBlur ? this.#small[0] : this.#behind);
    program.vector("fill", this.background.colour.map((each) => each / 255));
    program.flag("mirrorFrame", this.mirror);
    program.flag("mirrorBackground", this.mirror && isBlur); // a blurred frame turns with the frame, a picture stays
    program.flag("firstRowOnTop", target === null); // pixels() reads from the bottom row on
    this.#fill(target, slot.width, slot.height);
  }

  #blur() {
    const gl = this.#gl;
    const { slot } = this.#shown;
    const width = Math.ceil(slot.width / SHRINK);
    const height = Math.ceil(slot.height / SHRINK);
    if (this.#small[0]?.width !== width || this.#small[0]?.height !== height) {
      this.#small.forEach((each) => each.delete());
      this.#small = [new Target(gl, width, height), new Target(gl, width, height)];
    }
    const [first, second] = this.#small;
    const shrink = this.#program(`${slot.kind} shrink`, () => shrinkShader(slot.kind));
    shrink.use();
    this.#bindFrame(shrink, slot);
    shrink.texture("alpha", this.#alpha);
    shrink.vector("block", [1 / width, 1 / height]);
    this.#fill(first, width, height);
    const soften = this.#program("soften", () => SOFTEN);
    for (const [from, to, step] of [[first, second, [1 / width, 0]], [second, first, [0, 1 / height]]]) {
      soften.use();
      soften.texture("picture", from);
      soften.vector("step", step);
      soften.number("sigma", sigmaOf(this.background.strength, height));
      this.#fill(to, width, height);
    }
  }

  /** Cut the background picture to the frame's size, once. */
  #fitBackground(width, height) {
    const { picture } = this.background;
    const made = this.#behindOf;
    if (made?.picture === picture && made.width === width && made.height === height) return;
    const context = new OffscreenCanvas(width, height).getContext("2d", { alpha: false });
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, ...covering(picture, width, height));
    this.#behind.picture(context.canvas, width, height);
    this.#behindOf = { picture, width, height };
  }

  #bindFrame(program, slot) {
    if (slot.kind === "picture") return program.texture("picture", slot.textures[0]);
    ["luma", "blue", "red"].forEach((name, index) => program.texture(name, slot.textures[index]));
    const { toRgb, zero } = conversion(slot.matrix, slot.range);
    program.matrix("toRgb", toRgb);
    program.vector("zero", zero);
  }

  #fill(target, width, height) {
    const gl = this.#gl;
    gl.bindFramebuffer(gl.FRAMEBUFFER, target?.framebuffer ?? null);
    gl.viewport(0, 0, width, height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  #program(name, shader) {
    let program = this.#programs.get(name);
    if (!program) this.#programs.set(name, (program = buildProgram(this.#gl, VERTEX, shader())));
    return program;
  }
}

/** Chromium does not call its SwiftShader a performance caveat everywhere, so the renderer's name counts as well. */
function hasGraphicsCard() {
  const gl = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  const names = gl?.getExtension("WEBGL_debug_renderer_info");
  const renderer = gl ? gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER) : "software";
  gl?.getExtension("WEBGL_lose_context")?.loseContext(); // a browser has few contexts
  return !SOFTWARE.test(renderer);
}

/** The matrix (by columns) and the zero point that turn YCbCr of 0…1 into RGB. */
function conversion(matrix, range) {
  const [kr, kb] = LUMA[matrix];
  const kg = 1 - kr - kb;
  const y = range ? 1 : 255 / 219;
  const c = range ? 1 : 255 / 224;
  const [r, b] = [2 * (1 - kr) * c, 2 * (1 - kb) * c];
  const toRgb = [y, y, y, 0, (-b * kb) / kg, b, r, (-r * kr) / kg, 0];
  return { toRgb, zero: [range ? 0 : 16 / 255, 128 / 255, 128 / 255] };
}
