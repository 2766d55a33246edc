// What the server says about itself.

import { say } from "./elements.js";
import { askForToken, authorization, currentToken } from "./token.js";

const RETRY_MS = 5000;

/** Ask until the server answers; ask the user for the token if it wants one. */
export async function askAbout() {
  for (;;) {
    const answer = await request();
    if (answer?.ok) return answer.json();
    if (answer?.status === 401) {
      await askForToken(currentToken() ? "The token is not the one of this server." : "");
      continue;
    }
    const lost = "The server cannot be reached. The page tries again.";
    say(answer ? `The server answered ${answer.status}.` : lost, "problem");
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

export async function isTokenWanted() {
  return (await request())?.status === 401;
}

function request() {
  return fetch("api/about", { headers: authorization() }).catch(() => null);
}
