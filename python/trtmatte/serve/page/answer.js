// The pictures of an answer.

import { decodeGreyPng } from "./png.js";

const FOREGROUND_OPTIONS = { colorSpaceConversion: "none" };

/** The alpha and the foreground of an answer; a promise of them if they must be decoded. */
export function decode({ isPng, alpha, width, height, foreground }) {
  const plain = { bytes: alpha, width, height };
  if (!isPng && !foreground.length) return [plain, null];
  return Promise.all([
    isPng ? decodeGreyPng(alpha) : plain,
    foreground.length ? createImageBitmap(new Blob([foreground], { type: "image/jpeg" }), FOREGROUND_OPTIONS) : null,
  ]);
}
