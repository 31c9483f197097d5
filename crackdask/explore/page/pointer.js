// What the mouse does in the picture: drag moves it, the wheel zooms, a click picks a particle.
// @ts-check

import * as server from "./server.js";
import { AXES } from "./plane_geometry.js";

const STILL = 4; // pixels that a click may move

/**
 * @param {import("./volume_view.js").VolumeView} view
 * @param {import("./settings.js").Settings} settings
 * @param {HTMLElement} readout where the voxel under the mouse is told
 * @param {(words: string) => void} failed
 */
export function followPointer(view, settings, readout, failed) {
  const { canvas } = view;
  const pixel = (/** @type {MouseEvent} */ event) => {
    const scale = canvas.width / canvas.clientWidth;
    return [event.offsetX * scale, event.offsetY * scale];
  };
  /** @type {{x: number, y: number, at: number[], moved: boolean} | null} */
  let held = null;
  /** @type {number[] | null} */
  let over = null; // where the mouse rests, while slices pass under it
  const tell = () => { readout.textContent = over && !held ? told(view, over[0], over[1]) : ""; };
  view.drawn.push(tell);

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const [x, y] = pixel(event);
    held = { x, y, at: view.geometry.at, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = pixel(event);
    over = [x, y];
    if (!held) {
      tell();
      return;
    }
    if (Math.hypot(x - held.x, y - held.y) > STILL) held.moved = true;
    if (!held.moved) return;
    const { axes, zoom, stretch } = view.geometry;
    const at = [...held.at];
    at[axes.row] -= (y - held.y) / (zoom * stretch[0]);
    at[axes.column] -= (x - held.x) / (zoom * stretch[1]);
    settings.change({ at: within(at, view.layout.shape), zoom });
  });
  canvas.addEventListener("pointerup", async (event) => {
    const clicked = held && !held.moved;
    held = null;
    if (!clicked) return;
    const [x, y] = pixel(event);
    const position = view.geometry.positionAt(x, y);
    if (!view.geometry.inside(position)) return;
    try {
      const { label } = await server.voxel(settings.values.state, position.map(Math.floor));
      settings.change({ particle: label });
    } catch (error) {
      failed(error instanceof Error ? error.message : String(error));
    }
  });
  canvas.addEventListener("pointerleave", () => {
    over = null;
    tell();
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      if (event.shiftKey) {
        stepSlice(view, settings, Math.sign(event.deltaY || event.deltaX));
        return;
      }
      const [x, y] = pixel(event);
      zoomAt(view, settings, 2 ** (-Math.sign(event.deltaY) / 4), x, y);
    },
    { passive: false },
  );
}

/**
 * Zoom about a pixel, which stays where it is.
 * @param {import("./volume_view.js").VolumeView} view
 * @param {import("./settings.js").Settings} settings
 * @param {number} times
 * @param {number} [x]
 * @param {number} [y]
 */
export function zoomAt(view, settings, times, x = view.canvas.width / 2, y = view.canvas.height / 2) {
  const { geometry } = view;
  const zoom = Math.min(64, Math.max(0.25 * 2 ** -view.layout.levels, geometry.zoom * times));
  const { row, column } = geometry.axes;
  const [r, c] = geometry.voxelAt(x, y);
  const at = [...geometry.at];
  at[row] = r - (y - geometry.height / 2) / (zoom * geometry.stretch[0]);
  at[column] = c - (x - geometry.width / 2) / (zoom * geometry.stretch[1]);
  settings.change({ zoom: rounded(zoom), at: within(at, view.layout.shape) });
}

/**
 * Go some slices on.
 * @param {import("./volume_view.js").VolumeView} view
 * @param {import("./settings.js").Settings} settings
 * @param {number} count
 */
export function stepSlice(view, settings, count) {
  const { geometry } = view;
  const { cut } = geometry.axes;
  const at = [...geometry.at];
  at[cut] = Math.min(view.layout.shape[cut] - 1, Math.max(0, geometry.index + count)) + 0.5;
  settings.change({ at: within(at, view.layout.shape), zoom: settings.values.zoom && rounded(geometry.zoom) });
}

/** @param {number[]} at @param {number[]} shape */
export function within(at, shape) {
  return at.map((value, k) => rounded(Math.min(shape[k], Math.max(0, value))));
}

/** @param {number} value */
const rounded = (value) => Number(value.toPrecision(6));

/**
 * @param {import("./volume_view.js").VolumeView} view
 * @param {number} x
 * @param {number} y
 */
function told(view, x, y) {
  const found = view.under(x, y);
  if (!found) return "";
  const um = view.layout.voxel_um;
  const places = found.position.map((value, k) => `${AXES[k]} ${Math.floor(value)} (${((Math.floor(value) + 0.5) * um[k]).toFixed(1)} µm)`);
  const { values, name, said } = view.paint;
  const value = found.label && values ? `   ${name} ${said(values[found.label])}` : "";
  return `${places.join("  ")}   grey ${found.grey}${found.label ? `   particle ${found.label}` : ""}${value}`;
}
