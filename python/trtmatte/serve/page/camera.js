// Sources of frames: a camera, or a film of the user.
//
// A source has run(take), poke(), play(), pause() and close(). It calls take(frame, arrived) for each frame, which then
// belongs to the taker, and onend(sentence, kind) when no more come; the kind is end or problem. A camera gives frames
// always, a film only between play() and pause(), and one at poke().

import { Refusal } from "./refusal.js";

const WISHES = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };

/** The cameras. Their names are known only after the user has permitted one. */
export async function listCameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices.filter((each) => each.kind === "videoinput" && each.deviceId);
}

export async function openCamera(deviceId) {
  if (!navigator.mediaDevices?.getUserMedia) throw new Refusal(withoutCameras());
  const video = { ...WISHES, ...(deviceId ? { deviceId: { exact: deviceId } } : {}) };
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
  } catch (error) {
    throw new Refusal(sentenceOf(error));
  }
  return new Camera(stream);
}

export async function openFilm(file) {
  const video = videoElement();
  const address = URL.createObjectURL(file);
  const unreadable = new Refusal(`This browser cannot play ${file.name}. Most browsers play MP4 with H.264, and WebM.`);
  try {
    await new Promise((resolve, reject) => {
      onFrame(video, resolve); // loadeddata comes before a frame can be read
      video.onloadedmetadata = () => video.videoWidth || reject(new Refusal(`${file.name} has only sound.`));
      video.onerror = () => reject(unreadable);
      video.src = address;
    });
  } catch (error) {
    URL.revokeObjectURL(address);
    throw error;
  }
  return new Film(video, address);
}

class Camera {
  onend = () => {};
  #stream;
  #track;
  #stop = () => {};

  constructor(stream) {
    this.#stream = stream;
    this.#track = stream.getVideoTracks()[0];
    const lost = "The camera has stopped: it was unplugged, or its permission was taken back.";
    this.#track.onended = () => this.onend(lost, "problem");
  }

  get deviceId() {
    return this.#track.getSettings().deviceId ?? "";
  }

  run(take) {
    const isDirect = typeof MediaStreamTrackProcessor === "function";
    this.#stop = isDirect ? readTrack(this.#track, take) : this.#readElement(take);
  }

  poke() {}

  play() {}

  pause() {}

  close() {
    this.#track.onended = null;
    this.#stop();
    this.#stream.getTracks().forEach((each) => each.stop());
  }

  #readElement(take) {
    const video = videoElement();
    video.srcObject = this.#stream;
    const stop = readVideo(video, take);
    video.play().catch(() => this.onend("This browser did not play the camera's pictures.", "problem"));
    return () => {
      stop();
      video.srcObject = null;
    };
  }
}

class Film {
  onend = () => {};
  #video;
  #address;
  #take = () => {};
  #stop = () => {};
  #isPlaying = false;

  constructor(video, address) {
    this.#video = video;
    this.#address = address;
    video.onended = () => this.onend("The film has ended.", "end");
    video.onerror = () => this.onend("The film is damaged from here on.", "problem");
  }

  run(take) {
    this.#take = take;
    this.#stop = readVideo(this.#video, take, () => this.#isPlaying);
    this.poke();
  }

  async poke() {
    const arrived = performance.now();
    this.#take(await grab(this.#video), arrived);
  }

  async play() {
    await this.poke(); // the first frame, which may have been seen already
    this.#isPlaying = true;
    this.#video.play().catch((error) => {
      if (error.name === "AbortError") return; // it was paused
      this.onend("This browser did not play the film.", "problem");
    });
  }

  pause() {
    this.#isPlaying = false;
    this.#video.pause();
  }

  close() {
    this.#video.onended = this.#video.onerror = null;
    this.#stop();
    this.#video.pause();
    this.#video.removeAttribute("src");
    this.#video.load(); // lets go of the decoder
    URL.revokeObjectURL(this.#address);
  }
}

function videoElement() {
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  return video;
}

/** Read a track until it is stopped. The browser keeps one frame, the newest. */
function readTrack(track, take) {
  const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
  let isWanted = true;
  (async () => {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      if (isWanted) take(value, performance.now());
      else value.close(); // cancelling the reader instead would leave it open
    }
  })();
  return () => (isWanted = false);
}

/** Read a video element, while `isWanted()`. */
function readVideo(video, take, isWanted = () => true) {
  let handle = 0;
  const next = () => {
    handle = onFrame(video, async () => {
      const arrived = performance.now();
      next();
      if (isWanted()) take(await grab(video), arrived);
    });
  };
  next();
  return () => video.cancelVideoFrameCallback(handle);
}

/** Call back at the next frame of a video element. */
function onFrame(video, callback) {
  if (!video.requestVideoFrameCallback) throw new Refusal("This browser is too old for cameras and films.");
  return video.requestVideoFrameCallback(callback);
}

/** The frame that a video element shows. Browsers without WebCodecs get an ImageBitmap. */
function grab(video) {
  return typeof VideoFrame === "function"
    ? new VideoFrame(video, { timestamp: Math.round(performance.now() * 1000) })
    : createImageBitmap(video);
}

export function withoutCameras() {
  return window.isSecureContext
    ? "This browser has no cameras for web pages. Pictures and films work."
    : "Browsers give cameras only to pages on https or localhost, and this is neither. Pictures and films work.";
}

function sentenceOf(error) {
  const sentences = {
    NotAllowedError: "The camera is not permitted. Permit it beside the page's address, then start again.",
    NotFoundError: "There is no camera. Connect one, or drop a picture or a film here.",
    OverconstrainedError: "The chosen camera is not there any more. Choose another.",
    NotReadableError: "The camera does not answer. Another program may be using it.",
    AbortError: "The camera did not start. Try again.",
  };
  return sentences[error.name] ?? `The camera did not start: ${error.message}`;
}
