/** Something that cannot be done; its message is a sentence for the user. */
export class Refusal extends Error {}

/** Make a sentence of what the server said. */
export function sentence(said) {
  const text = said.trim();
  return text && text[0].toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");
}
