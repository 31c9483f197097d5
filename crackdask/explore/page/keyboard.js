// What the keys do, and the page that tells it.
// @ts-check

import { middle } from "./controls.js";
import { byId, made } from "./elements.js";
import { PLANES } from "./plane_geometry.js";
import { stepSlice, zoomAt } from "./pointer.js";

/**
 * @param {import("./volume_view.js").VolumeView} view
 * @param {import("./settings.js").Settings} settings
 * @param {Record<string, () => void>} others what keys do that the picture does not know
 */
export function followKeys(view, settings, others) {
  const { layout } = view;
  const state = (/** @type {number} */ step) =>
    settings.change({ state: Math.min(layout.states.length - 1, Math.max(0, settings.values.state + step)) });
  const next = (/** @type {string} */ name, /** @type {string[]} */ all) =>
    settings.change({ [name]: all[(all.indexOf(settings.values[name]) + 1) % all.length] });
  /** @type {Record<string, () => void>} */
  const actions = {
    ArrowLeft: () => state(-1),
    ArrowRight: () => state(1),
    ",": () => state(-1),
    ".": () => state(1),
    ArrowUp: () => stepSlice(view, settings, 1),
    ArrowDown: () => stepSlice(view, settings, -1),
    PageUp: () => stepSlice(view, settings, 10),
    PageDown: () => stepSlice(view, settings, -10),
    "+": () => zoomAt(view, settings, Math.SQRT2),
    "=": () => zoomAt(view, settings, Math.SQRT2),
    "-": () => zoomAt(view, settings, Math.SQRT1_2),
    0: () => settings.change({ zoom: 0, at: middle(view) }),
    o: () => next("labels", ["fill", "outline", "off"]),
    "?": () => /** @type {HTMLDialogElement} */ (byId("help")).showModal(),
    Escape: () => {
      const { solid, brush } = settings.values;
      settings.change(solid ? { solid: "" } : brush.length ? { brush: [] } : { particle: 0 });
    },
  };
  for (const [k, plane] of Object.keys(PLANES).entries()) actions[k + 1] = () => settings.change({ plane });
  document.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    const writes = target.matches("input, select, textarea") || target.closest("dialog");
    if (writes && event.key === "Escape" && !target.closest("dialog")) view.canvas.focus();
    if (writes || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = actions[event.key] ?? others[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  giveKeysBack(view.canvas);
  fillHelp();
}

/**
 * Return to the picture what was chosen by the mouse: else the next key would go on choosing, unseen.
 * @param {HTMLElement} canvas
 */
function giveKeysBack(canvas) {
  let byMouse = false;
  document.addEventListener("pointerdown", () => { byMouse = true; }, true);
  document.addEventListener("keydown", (event) => { if (event.key === "Tab") byMouse = false; }, true);
  const back = (/** @type {string} */ kinds) => (/** @type {Event} */ { target }) => {
    const element = /** @type {HTMLElement} */ (target);
    if (byMouse && element.matches(kinds) && !element.closest("details")) canvas.focus({ preventScroll: true });
  };
  document.addEventListener("change", back("select, input[type=checkbox]"));
  document.addEventListener("click", back("input[type=range]"));
}

const KEYS = [
  ["← →", "state before, state after (also , and .)"],
  ["↑ ↓", "next slice, slice before; Page up and down: ten slices"],
  ["1 2 3", "plane xy, xz, yz"],
  ["+ −", "closer, farther"],
  ["0", "the whole plane"],
  ["c", "go to the picked particle, closely"],
  ["n p", "next particle, particle before, in the order of the table"],
  ["o", "particles filled, outlined, not drawn"],
  ["v", "in 3D: the picked particle in one state, in all states side by side; the whole field; closed"],
  ["f", "only tracked particles, or all"],
  ["t", "particle, table, charts, cell"],
  ["d", "light or dark"],
  ["Esc", "leave a field; close 3D; then, forget what was marked in a chart; then, the picked particle"],
  ["?", "this page"],
];

const MOUSE = [
  ["click", "pick the particle; click beside all to pick none"],
  ["drag", "move the picture"],
  ["wheel", "closer, farther; with Shift: slice by slice"],
  ["in 3D", "drag turns it, the wheel brings it closer, a double click turns it back; a click in the whole field picks a particle"],
];

function fillHelp() {
  const help = /** @type {HTMLDialogElement} */ (byId("help"));
  const list = (/** @type {string[][]} */ rows) =>
    made("dl", {}, ...rows.flatMap(([key, words]) => [made("dt", {}, key), made("dd", {}, words)]));
  help.replaceChildren(
    made("form", { method: "dialog" }, made("button", {}, "close")), // first: what has the focus is scrolled to
    made("h2", {}, "Keys"), list(KEYS), made("h2", {}, "Mouse, in the picture"), list(MOUSE),
    made("p", { className: "soft" }, "The address of this page holds all that is chosen: a copied link shows the same in every browser that the printed link, with its token, was opened in before."),
  );
  byId("keys").onclick = () => help.showModal();
}
