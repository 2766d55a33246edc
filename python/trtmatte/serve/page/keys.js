// Keys for the whole page. In a field they write, and on a button the space bar presses it.

const WRITING = "select, textarea, input:not([type=checkbox], [type=radio], [type=range], [type=color])";
const PRESSED = "button, a, input, summary";

/** Call the actions, which are named by keys. */
export function listenToKeys(actions) {
  document.addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase();
    const { target } = event;
    if (!actions[key] || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.matches(WRITING) || target.closest("dialog") || (key === " " && target.matches(PRESSED))) return;
    event.preventDefault();
    actions[key]();
  });
}
