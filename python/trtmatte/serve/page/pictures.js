// Pictures: the server cuts the subject out. A background picture and blur are added here, so that they stay here.

import { createCompositor } from "./composite.js";
import { encodePng } from "./png.js";
import { Refusal, sentence } from "./refusal.js";
import { authorization } from "./token.js";

const EXACT = { colorSpaceConversion: "none", premultiplyAlpha: "none" };

/** The server wants a token, or another one. */
export class TokenWanted extends Error {}

/** Remove the background of a picture. `background` is that of the compositor; `colour` is "#rrggbb". Returns a PNG. */
export async function removeBackground(file, { model, background, colour, signal }) {
  const cutout = await ask(file, model, background.kind === "colour" ? colour : null, signal);
  const isLocal = background.kind === "blur" || (background.kind === "picture" && background.picture);
  return isLocal ? putOver(background, file, cutout) : cutout;
}

async function ask(file, model, colour, signal) {
  const form = new FormData();
  form.set("file", file, file.name);
  form.set("format", "png");
  if (model) form.set("model", model);
  if (colour) form.set("background", colour);
  let answer;
  try {
    answer = await fetch("api/remove", { method: "POST", body: form, headers: authorization(), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server cannot be reached.");
  }
  if (answer.ok) return answer.blob();
  const said = sentence((await answer.json().catch(() => ({}))).error ?? `the server answered ${answer.status}`);
  if (answer.status === 401) throw new TokenWanted(said);
  const wait = answer.headers.get("Retry-After");
  throw new Refusal(wait ? `${said} Try again in ${wait} s.` : said);
}

async function putOver(background, file, cutout) {
  const [picture, foreground] = await Promise.all([createImageBitmap(file), createImageBitmap(cutout, EXACT)]);
  const compositor = createCompositor(document.createElement("canvas"));
  try {
    compositor.background = background;
    await compositor.show(compositor.keep(picture, null), alphaOf(foreground), foreground);
    return await encodePng(compositor.pixels());
  } finally {
    compositor.close();
    picture.close();
    foreground.close();
  }
}

function alphaOf(picture) {
  const { width, height } = picture;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const bytes = new Uint8Array(width * height);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = data[4 * i + 3];
  return { bytes, width, height };
}
