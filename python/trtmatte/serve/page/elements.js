// The elements of the page, by their ids, and its status line.

export const element = Object.fromEntries([...document.querySelectorAll("[id]")].map((each) => [each.id, each]));

/** Show a sentence in the status line, which screen readers read out. The kind is busy, live, problem or "". */
export function say(sentence, kind = "") {
  element.status.textContent = sentence;
  element.status.dataset.kind = kind;
}
