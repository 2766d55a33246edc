// The page: connects the controls with the parts.

import { askAbout, isTokenWanted } from "./about.js";
import { openCamera, openFilm, withoutCameras } from "./camera.js";
import { createCompositor } from "./composite.js";
import { choice, isForPictures, keep, restore, showCameras, showDetail, showFilm, showModels } from "./controls.js";
import { download } from "./download.js";
import { element, say } from "./elements.js";
import { listenToKeys } from "./keys.js";
import { Matting } from "./matting.js";
import { removeBackground, TokenWanted } from "./pictures.js";
import { encodePng } from "./png.js";
import { Recording } from "./recording.js";
import { Statistics } from "./statistics.js";
import { askForToken, currentToken } from "./token.js";

const SHOW_MS = 500; // between two looks at the numbers

const parameters = new URLSearchParams(location.search); // codec, alpha, draw, measure: for tests and for diagnosis
const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
const statistics = new Statistics();

let about = null;
let compositor = null;
let behind = null; // the background picture
let matting = null;
let starts = 0; // counts, so that a start that was given up is known
let isStarting = false;
let picture = null; // the file whose background was removed
let asking = null; // aborts the request for it
let recording = null;
let wantsRecording = false;
let shown = 0; // the time at which the numbers were last shown

// ---- camera and films

async function start() {
  if (isStarting || matting || element.start.disabled) return;
  const mine = (starts += 1);
  isStarting = true;
  forgetPicture();
  statistics.reset();
  showState();
  say(choice.isFilm ? "Opening the film …" : "Starting the camera …", "busy");
  try {
    const source = choice.isFilm ? await openFilm(choice.film) : await openCamera(choice.camera);
    if (mine !== starts) return source.close();
    matting = new Matting(source, wishes(), { compositor, statistics, events: { status: say, drawn, ended } });
    if (!choice.isFilm) await showCameras(source.deviceId); // their names are known now
  } catch (error) {
    if (mine !== starts) return;
    wantsRecording = false;
    say(error.message, "problem");
  }
  isStarting = false;
  showState();
}

async function stop(sentence = "Stopped. The last frame stays on show.", kind = "") {
  const closing = matting?.close();
  starts += 1;
  matting = null;
  isStarting = wantsRecording = false;
  say(sentence, kind);
  showState();
  await finishRecording();
  await closing;
}

/** The kind is end, problem, or policy: the server refused. */
async function ended(sentence, kind) {
  await stop(sentence, kind === "end" ? "" : "problem");
  if (kind === "policy" && (await isTokenWanted())) {
    await askForToken(sentence);
    start();
  }
}

function wishes() {
  return {
    model: choice.model,
    foreground: choice.hasCleanEdges,
    token: currentToken,
    codec: parameters.get("codec"),
    alpha: parameters.get("alpha"),
    measure: parameters.has("measure"),
    isLocal,
  };
}

async function takeCamera() {
  showState();
  if (!matting) return;
  if (choice.isFilm) {
    await stop();
    return start();
  }
  try {
    const source = await openCamera(choice.camera);
    if (matting) matting.swap(source);
    else source.close();
  } catch (error) {
    await stop(error.message, "problem");
  }
}

async function takeFilm(file) {
  await stop("");
  await showFilm(file);
  showState();
  await start();
}

function drawn() {
  if (element.view.hidden || element.size.textContent !== statistics.size) {
    showState();
    showDevice();
  }
  if (recording && recording.size !== statistics.size) finishRecording("The frames have another size now.");
  if (wantsRecording) beginRecording();
  const now = performance.now();
  if (now - shown < SHOW_MS) return;
  shown = now;
  showNumbers(now);
}

// ---- pictures

async function cutOut(file) {
  await stop("");
  asking?.abort();
  const request = (asking = new AbortController());
  picture = file;
  say(`Removing the background of ${file.name} …`, "busy");
  const options = { model: choice.pictureModel, background: choice.background(behind), colour: choice.colour };
  try {
    const result = await removeBackground(file, { ...options, signal: request.signal });
    if (asking !== request) return;
    showPicture(result, `${file.name.replace(/\.[^.]*$/, "")}-cutout.png`);
    say(`The background of ${file.name} is removed.`);
    showDevice();
  } catch (error) {
    if (error.name === "AbortError" || asking !== request) return;
    if (error instanceof TokenWanted) {
      await askForToken(error.message);
      return cutOut(file);
    }
    say(error.message, "problem");
  }
}

function showPicture(blob, name) {
  URL.revokeObjectURL(element.result.src);
  element.result.src = element.download.href = URL.createObjectURL(blob);
  element.download.download = name;
  showState();
}

function forgetPicture() {
  asking?.abort();
  asking = picture = null;
  URL.revokeObjectURL(element.result.src);
  element.result.removeAttribute("src");
  element.download.removeAttribute("href");
}

function open(file) {
  if (!file || !about) return;
  if (file.type.startsWith("image/")) return cutOut(file);
  if (file.type.startsWith("video/")) return compositor && takeFilm(file);
  say(`${file.name} is neither a picture nor a film that this browser knows.`, "problem");
}

// ---- saving

async function save() {
  if (element.download.href) return element.download.click();
  const number = statistics.lastDrawn;
  const pixels = compositor?.pixels();
  if (pixels) download(await encodePng(pixels), `trtmatte-${number}.png`);
}

function record() {
  if (recording) return finishRecording();
  if (element.record.disabled) return;
  wantsRecording = true;
  start();
}

function beginRecording() {
  wantsRecording = false;
  try {
    recording = new Recording(element.view);
  } catch (error) {
    say(error.message, "problem");
  }
  showState();
}

async function finishRecording(sentence = "") {
  if (!recording) return;
  const finishing = recording.finish();
  const isWhole = choice.background(behind).kind !== "none";
  recording = null;
  showState();
  const { file, name, isTransparent } = await finishing;
  if (!file.size) return say("Nothing was recorded.", "problem");
  download(file, name);
  const lack = isWhole || isTransparent ? "" : "This browser records no transparency; a colour can be keyed out later.";
  say([sentence, `${name} is saved.`, lack].filter(Boolean).join(" "), lack ? "problem" : matting ? "live" : "");
}

// ---- what is on show

function showState() {
  const isRunning = Boolean(matting) || isStarting;
  const hasResult = Boolean(element.download.href);
  const hasFrame = Boolean(compositor && !compositor.isEmpty);
  element.start.textContent = isRunning ? "Stop" : choice.isFilm ? "Play film" : "Start camera";
  element.start.disabled = !about?.live.length || !compositor;
  element.save.disabled = !hasResult && !hasFrame;
  element.record.textContent = recording ? "Stop recording" : "Record";
  element.record.disabled = element.start.disabled;
  element.recording.hidden = !recording;
  element.view.hidden = hasResult || !hasFrame;
  element.view.style.setProperty("--ratio", element.view.width / element.view.height);
  element.result.hidden = element.download.hidden = !hasResult;
  element.hint.hidden = hasResult || hasFrame;
  element.size.textContent = statistics.size || "–";
  window.onbeforeunload = recording ? (event) => event.preventDefault() : null; // the recording would be lost
}

function showNumbers(now) {
  const { p50, p95, networkMs, rate } = statistics.summary(now);
  element.latency.textContent = `${p50.toFixed(0)} / ${p95.toFixed(0)} ms`;
  element.rate.textContent = `${rate.toFixed(1)} fps`;
  element.dropped.textContent = statistics.dropped;
  element.network.textContent = `${networkMs.toFixed(1)} ms`;
  element.codec.textContent = statistics.codec;
  if (!recording) return;
  const seconds = Math.floor(recording.seconds);
  element.recorded.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function applyBackground() {
  showDetail();
  if (!compositor) return;
  compositor.background = choice.background(behind);
  compositor.mirror = choice.isMirrored;
  compositor.redraw();
}

async function takeBackground(file) {
  if (!file) return;
  try {
    const chosen = await createImageBitmap(file);
    behind?.close();
    behind = chosen;
    element.chosen.textContent = file.name;
    applyBackground();
    if (picture) cutOut(picture);
  } catch {
    say(`This browser cannot read ${file.name} as a picture.`, "problem");
  }
}

// ---- the beginning

function changed({ target }) {
  if (target === element.camera) return takeCamera();
  if (target.type === "file") return;
  keep();
  if (target === element.model || target === element.edges) matting?.change(wishes());
  if (picture && isForPictures(target)) cutOut(picture);
}

function listen() {
  const startOrStop = () => (matting || isStarting ? stop() : start());
  element.start.onclick = startOrStop;
  element.save.onclick = save;
  element.record.onclick = record;
  element.open.onclick = () => element.file.click();
  element.choose.onclick = () => element.behind.click();
  element.behind.onchange = () => takeBackground(element.behind.files[0]);
  element.file.onchange = () => {
    open(element.file.files[0]);
    element.file.value = ""; // so that the same file can be chosen again
  };
  element.controls.onsubmit = (event) => event.preventDefault();
  element.controls.oninput = applyBackground;
  element.controls.onchange = changed;
  listenToKeys({ " ": startOrStop, s: save, r: record, m: () => element.mirror.click() });
  listenToDrops();
  navigator.mediaDevices?.addEventListener?.("devicechange", () => showCameras());
}

function listenToDrops() {
  const mark = (isDropping) => document.body.classList.toggle("dropping", isDropping);
  document.ondragover = (event) => {
    event.preventDefault();
    mark(true);
  };
  document.ondragleave = (event) => event.relatedTarget || mark(false);
  document.ondrop = (event) => {
    event.preventDefault();
    mark(false);
    open(event.dataTransfer.files[0]);
  };
}

/** Say where the networks run. The server knows that once it has loaded one. */
async function showDevice() {
  if (!about?.device) about = await askAbout();
  const device = about.device ? `Runs on ${about.device === "cpu" ? "the CPU" : about.device} · ` : "";
  element.device.textContent = `${device}version ${about.version}`;
}

async function begin() {
  restore();
  try {
    compositor = createCompositor(element.view, parameters.get("draw"));
  } catch (error) {
    say(error.message, "problem");
  }
  applyBackground();
  listen();
  await showCameras();
  await showDevice();
  showModels(about);
  showState();
  if (!compositor) return;
  if (!about.live.length) say("This server has no model for cameras and films. Pictures work.", "problem");
  else if (!navigator.mediaDevices?.getUserMedia) say(withoutCameras(), "problem");
  else say("Ready.");
}

/** What is measured, for tests and benchmarks. */
window.trtmatte = Object.freeze({
  get frames() {
    return statistics.frames;
  },
  get times() {
    return statistics.times;
  },
});

begin();
