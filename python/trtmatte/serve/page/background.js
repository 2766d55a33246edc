// The background: {kind, colour, picture, strength}. The kinds are none, colour, picture and blur; the colour is
// [r, g, b] of 0…255, the picture an ImageBitmap or null, the strength of the blur 1…10.

export const NO_BACKGROUND = Object.freeze({ kind: "none", colour: [0, 0, 0], picture: null, strength: 4 });

/** The kind that can be drawn: a picture may not have been chosen yet. */
export function kindOf({ kind, picture }) {
  return kind === "picture" && !picture ? "none" : kind;
}

/** The standard deviation of the blur, in pixels of a frame of this height. */
export function sigmaOf(strength, height) {
  return (strength * height) / 110;
}

/** Where a picture lies that covers a frame: its middle is seen. */
export function covering(picture, width, height) {
  const scale = Math.max(width / picture.width, height / picture.height);
  const [w, h] = [picture.width * scale, picture.height * scale];
  return [(width - w) / 2, (height - h) / 2, w, h];
}
