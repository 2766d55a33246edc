// The token of the server: from the page's address (#token=…), from this tab's storage, or from the user.

const KEY = "trtmatte-token";

let token = "";
token = fromAddress() ?? stored() ?? "";
addEventListener("hashchange", () => fromAddress() !== null && location.reload());

export function currentToken() {
  return token;
}

/** Headers for a request to the server. */
export function authorization() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** Ask the user for a token. `note` says why. */
export function askForToken(note) {
  const dialog = document.querySelector("#token-dialog");
  const field = document.querySelector("#token");
  if (note) document.querySelector("#token-note").textContent = note;
  field.value = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => (field.value ? resolve() : dialog.showModal()); // nothing works without a token
    document.querySelector("#token-form").onsubmit = (event) => {
      event.preventDefault();
      keep(field.value.trim());
      dialog.close();
    };
  });
}

function fromAddress() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found === null) return null;
  history.replaceState(null, "", location.pathname + location.search); // or it would be in links that are shared
  keep(found);
  return found;
}

function stored() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function keep(value) {
  token = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // no storage: the token lasts as long as the page
  }
}
