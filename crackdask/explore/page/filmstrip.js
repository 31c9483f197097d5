// One particle in every state, side by side: the same box of voxels, its edge drawn, the state that is shown marked.
// @ts-check

import { made } from "./elements.js";
import * as server from "./server.js";

/**
 * @param {HTMLElement} parent
 * @param {server.Layout} layout
 * @param {import("./settings.js").Settings} settings
 * @param {(words: string) => void} failed
 */
export function filmstrip(parent, layout, settings, failed) {
  const cells = layout.states.map((state, number) => {
    const canvas = made("canvas", { width: 1, height: 1 });
    return made(
      "button", { type: "button", className: "film", title: `show ${state.name}`, onclick: () => settings.change({ state: number }) },
      canvas, made("span", {}, state.name),
    );
  });
  const strip = made("div", { id: "filmstrip" }, ...cells);
  parent.append(strip);
  /** @type {server.Strip | null} */
  let held = null;
  let asked = 0;
  const fetched = async () => {
    const { particle, plane } = settings.values;
    const mine = ++asked;
    strip.dataset.shown = "";
    if (!particle) return;
    try {
      const told = await server.strip(particle, plane, -1);
      if (mine !== asked) return;
      held = told;
      draw();
      strip.dataset.shown = `${particle} ${plane}`;
    } catch (error) {
      if (mine === asked) failed(error instanceof Error ? error.message : String(error));
    }
  };
  const draw = () => {
    if (!held) return;
    for (const [number, cell] of cells.entries()) {
      drawCell(/** @type {HTMLCanvasElement} */ (cell.firstChild), held, number, layout, settings.values);
      cell.setAttribute("aria-pressed", String(number === settings.values.state));
    }
  };
  settings.follow(["particle", "plane"], fetched);
  settings.follow(["window", "state"], draw);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {server.Strip} strip
 * @param {number} state
 * @param {server.Layout} layout
 * @param {{window: number[], particle: number}} chosen
 */
function drawCell(canvas, strip, state, layout, { window, particle }) {
  const [states, rows, columns] = strip.shape;
  const bytes = layout.volumes.grey === "uint16" ? 2 : 1;
  const all = states * rows * columns;
  const greys = bytes === 2 ? new Uint16Array(strip.data, 0, all) : new Uint8Array(strip.data, 0, all);
  const labels = new Uint32Array(strip.data.slice(all * bytes));
  canvas.width = columns;
  canvas.height = rows;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(columns, rows);
  const first = state * rows * columns;
  const own = (/** @type {number} */ r, /** @type {number} */ c) =>
    r >= 0 && c >= 0 && r < rows && c < columns && labels[first + r * columns + c] === particle;
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const shade = (255 * (greys[first + r * columns + c] - window[0])) / (window[1] - window[0]);
      const edge = !own(r, c) && (own(r - 1, c) || own(r + 1, c) || own(r, c - 1) || own(r, c + 1));
      image.data.set(edge ? [255, 92, 147, 255] : [shade, shade, shade, 255], 4 * (r * columns + c));
    }
  }
  context.putImageData(image, 0, 0);
}
