// The compositor puts frames over backgrounds. There are two, with the same methods:
//
//   keep(frame, planes)               takes a frame's pixels, so that the frame can be closed; returns its slot
//   release(slot)                     takes a slot back that will not be shown
//   show(slot, alpha, foreground)     shows a frame with its alpha {bytes, width, height} and, if there is one, the
//                                     foreground (an ImageBitmap) in place of its colours; false if the frame is lost
//   redraw()                          draws what is on show again, for example over another background
//   pixels()                          the composite on show as RGBA, not premultiplied: {width, height, data}
//   finish()                          waits until all is drawn
//   close()                           lets the memory go

import { PlainCompositor } from "./composite-plain.js";
import { WebGLCompositor } from "./composite-webgl.js";

/** Make the compositor that is quicker here: WebGL 2 on a graphics card, else a 2D canvas. `wished`: webgl or plain. */
export function createCompositor(canvas, wished) {
  const gl = wished === "plain" ? null : WebGLCompositor.context(canvas, wished === "webgl");
  return gl ? new WebGLCompositor(canvas, gl) : new PlainCompositor(canvas);
}
