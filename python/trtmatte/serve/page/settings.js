// The user's settings, kept in localStorage. A browser may refuse to keep them; then they last as long as the page.

const KEY = "trtmatte";
const DEFAULTS = {
  model: "",
  pictureModel: "",
  background: "none",
  colour: "#00b140",
  strength: 4,
  mirror: false,
  edges: false,
};

export function loadSettings() {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    // no storage, or not ours: the defaults
  }
  const settings = { ...DEFAULTS };
  for (const [name, value] of Object.entries(DEFAULTS)) {
    if (typeof kept[name] === typeof value) settings[name] = kept[name];
  }
  return settings;
}

export function saveSettings(settings) {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // no storage, or full
  }
}
