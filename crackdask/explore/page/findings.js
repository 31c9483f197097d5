// What the run found that should be known before a number is believed: a button that counts it, and the words.
// @ts-check

import { byId, made } from "./elements.js";

/**
 * Show the button, where there is something to tell.
 * @param {import("./server.js").Layout} layout
 */
export function showFindings({ warnings, notes }) {
  const button = byId("findings");
  const counts = [counted(warnings, "warning"), counted(notes, "note")].filter(Boolean);
  button.hidden = !counts.length;
  button.textContent = counts.join(", ");
  button.classList.toggle("warned", warnings.length > 0);
  const told = /** @type {HTMLDialogElement} */ (byId("told"));
  told.replaceChildren(
    ...part("To know before you trust a number", warnings), ...part("Seen, and taken care of", notes),
    made("form", { method: "dialog" }, made("button", {}, "close")),
  );
  button.onclick = () => told.showModal();
}

/** @param {string[]} words @param {string} what */
function counted(words, what) {
  return words.length ? `${words.length} ${what}${words.length > 1 ? "s" : ""}` : "";
}

/** @param {string} heading @param {string[]} words */
function part(heading, words) {
  return words.length ? [made("h2", {}, heading), ...words.map((each) => made("p", {}, each))] : [];
}
