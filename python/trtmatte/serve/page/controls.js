// The form: what the user has chosen.

import { listCameras } from "./camera.js";
import { element } from "./elements.js";
import { loadSettings, saveSettings } from "./settings.js";

const FILM = "film"; // its value in the list of cameras

const radios = [...document.querySelectorAll("[name=background]")];
const settings = loadSettings();

export const choice = {
  film: null,

  get isFilm() {
    return element.camera.value === FILM;
  },

  get camera() {
    return element.camera.value;
  },

  get model() {
    return element.model.value;
  },

  get pictureModel() {
    return element["picture-model"].value;
  },

  get hasCleanEdges() {
    return element.edges.checked;
  },

  get isMirrored() {
    return element.mirror.checked;
  },

  get colour() {
    return element.colour.value;
  },

  /** The background for a compositor, with a picture that has been read. */
  background(picture) {
    const number = parseInt(element.colour.value.slice(1), 16);
    const colour = [number >> 16, (number >> 8) & 255, number & 255];
    return { kind: backgroundKind(), colour, picture, strength: Number(element.strength.value) };
  },
};

/** Controls that change the result of a picture. */
export function isForPictures(control) {
  return radios.includes(control) || [element.colour, element.strength, element["picture-model"]].includes(control);
}

/** Show the controls as the user left them. */
export function restore() {
  element.colour.value = settings.colour;
  element.strength.value = settings.strength;
  element.mirror.checked = settings.mirror;
  element.edges.checked = settings.edges;
  (radios.find((each) => each.value === settings.background) ?? radios[0]).checked = true;
  showDetail();
}

export function keep() {
  saveSettings({
    model: choice.model,
    pictureModel: choice.pictureModel,
    background: backgroundKind(),
    colour: choice.colour,
    strength: Number(element.strength.value),
    mirror: choice.isMirrored,
    edges: choice.hasCleanEdges,
  });
}

/** Show what belongs to the kind of background. */
export function showDetail() {
  for (const detail of document.querySelectorAll("[data-for]")) detail.hidden = detail.dataset.for !== backgroundKind();
}

/** Show the models of the server. */
export function showModels(about) {
  const fill = (select, names, wished) => {
    select.replaceChildren(...names.map((each) => new Option(each)));
    select.value = [wished, about.model].find((each) => names.includes(each)) ?? names[0] ?? "";
  };
  fill(element.model, about.live, settings.model);
  fill(element["picture-model"], about.models, settings.pictureModel);
}

/** Show the cameras that there are. */
export async function showCameras(current = choice.camera) {
  const cameras = await listCameras();
  const options = cameras.map((each, index) => new Option(each.label || `Camera ${index + 1}`, each.deviceId));
  if (!options.length) options.push(new Option("The usual camera", ""));
  if (choice.film) options.push(new Option(`Film: ${choice.film.name}`, FILM));
  element.camera.replaceChildren(...options);
  if (options.some((each) => each.value === current)) element.camera.value = current;
}

/** Offer a film among the cameras, and choose it. */
export async function showFilm(file) {
  choice.film = file;
  await showCameras(FILM);
}

function backgroundKind() {
  return radios.find((each) => each.checked).value;
}
