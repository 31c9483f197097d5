// What the run found that should be known before a number is believed: a button that counts it, the words, and a mark at
// the states that warnings are of.
// @ts-check

import { byId, made } from "./elements.js";

/**
 * Show the button, where there is something to tell, and mark states.
 * @param {import("./server.js").Layout} layout
 */
export function showFindings({ warnings, notes, states }) {
  const button = byId("findings");
  const counts = [counted(warnings, "warning"), counted(notes, "note")].filter(Boolean);
  button.hidden = !counts.length;
  button.textContent = counts.join(", ");
  button.classList.toggle("warned", warnings.length > 0);
  const told = /** @type {HTMLDialogElement} */ (byId("told"));
  told.replaceChildren(
    ...part("To know before you trust a number", warnings), ...part("Seen, and taken care of", notes),
    made("p", { className: "soft" }, "What is set under [ ... ] is set in the recipe, and the run is done again: only what depends on it is made anew."),
    made("form", { method: "dialog" }, made("button", {}, "close")),
  );
  button.onclick = () => told.showModal();
  for (const [k, { name }] of states.entries()) {
    const mine = warnings.filter((each) => each.states.includes(name));
    const state = /** @type {HTMLElement} */ (byId("states").children[k]);
    state.classList.toggle("warned", mine.length > 0);
    if (mine.length) state.title += `; ${counted(mine, "warning")}`;
  }
}

/** @param {import("./server.js").Finding[]} found @param {string} what */
function counted(found, what) {
  return found.length ? `${found.length} ${what}${found.length > 1 ? "s" : ""}` : "";
}

/** @param {string} heading @param {import("./server.js").Finding[]} found */
function part(heading, found) {
  return found.length ? [made("h2", {}, heading), ...found.map(({ words }) => made("p", {}, words))] : [];
}
