// The picked particle in 3D, over the picture: one state, or all side by side, with what turns it and cuts it open.
// @ts-check

import { byId, made, radio } from "./elements.js";
import { PLANES } from "./plane_geometry.js";
import * as server from "./server.js";
import { DEFAULTS } from "./settings.js";
import { SolidView } from "./solid_view.js";

const REST = 200; // ms after a move at which the picture is drawn with all its pixels again
const WAYS = ["", "one", "all"];

/** @param {import("./settings.js").Settings} settings */
export function nextSolid(settings) {
  settings.change({ solid: WAYS[(WAYS.indexOf(settings.values.solid) + 1) % WAYS.length] });
}

/**
 * @param {server.Layout} layout
 * @param {import("./settings.js").Settings} settings
 * @param {(words: string) => void} failed
 */
export const followSolid = (layout, settings, failed) => new SolidPanel(layout, settings, failed);

class SolidPanel {
  /**
   * @param {server.Layout} layout
   * @param {import("./settings.js").Settings} settings
   * @param {(words: string) => void} failed
   */
  constructor(layout, settings, failed) {
    this.layout = layout;
    this.settings = settings;
    this.failed = failed;
    this.pane = byId("solid");
    this.canvas = /** @type {HTMLCanvasElement} */ (made("canvas", { "aria-label": "the picked particle in 3D" }));
    this.names = layout.states.map(() => made("span"));
    this.cells = made("div", { className: "cells" }, this.canvas, ...this.names);
    /** @type {SolidView | null} */
    this.view = null;
    /** Those of the particle `held`, by state. @type {import("./solid_view.js").Solid[]} */
    this.solids = [];
    this.held = 0;
    this.done = "";
    this.asked = 0;
    this.waiting = 0;
    this.resting = 0;
    this.pane.append(this.bar(), this.cells);
    this.pane.addEventListener("keydown", (event) => { // from its sliders, where the page's keys do nothing
      if (event.key !== "Escape") return;
      event.stopPropagation();
      settings.change({ solid: "" });
    });
    followMouse(this.canvas, settings);
    new ResizeObserver(() => this.draw()).observe(this.cells);
    settings.follow(["solid", "particle", "state"], () => this.ask());
    settings.follow(["turn", "near", "surface", "cut", "dark"], () => this.move());
    settings.follow(["plane", "window"], () => this.draw());
  }

  bar() {
    const group = made("span", { className: "choice", role: "radiogroup", "aria-label": "states in 3D" });
    const show = radio(group, [{ value: "one", words: "one state" }, { value: "all", words: "all states" }], (solid) => this.settings.change({ solid }));
    this.settings.follow(["solid"], () => show(this.settings.values.solid));
    const slider = (/** @type {string} */ name, /** @type {string} */ words, /** @type {string} */ title, /** @type {number} */ max, /** @type {number} */ step) => {
      const input = made("input", { type: "range", min: 0, max, step, oninput: () => this.settings.change({ [name]: Number(input.value) }) });
      this.settings.follow([name], () => { input.value = String(this.settings.values[name]); });
      return [input, made("label", { title }, `${words} `, input)];
    };
    const [, cut] = slider("cut", "cut", "Cut it open, along the axis of the chosen plane (keys 1 2 3)", 1, 0.01);
    const [, surface] = slider("surface", "surface", "How opaque its surface is", 1, 0.01);
    const [dark, cracks] = slider("dark", "cracks below", "Grey level below which its inside is orange, two voxels and more under its surface; at first halfway between the particle and what is around it", 255, 1);
    this.dark = dark;
    this.told = made("output");
    cracks.append(this.told);
    const close = made("button", { type: "button", title: "Close 3D (key Esc)", onclick: () => this.settings.change({ solid: "" }) }, "close");
    return made("div", { className: "bar" }, group, cut, surface, cracks, close);
  }

  /** States that are shown. @returns {number[]} */
  get shown() {
    const { solid, state } = this.settings.values;
    return solid === "all" ? this.layout.states.map((_, k) => k) : [state];
  }

  async ask() {
    const { solid, particle } = this.settings.values;
    const open = Boolean(solid && particle);
    this.pane.hidden = !open;
    const mine = ++this.asked;
    this.canvas.dataset.shown = "";
    if (!open || this.held !== particle) {
      for (const each of this.solids) this.view?.forget(each);
      this.solids = [];
      this.held = 0;
    }
    if (!open) return;
    try {
      const view = (this.view ??= new SolidView(this.canvas, this.layout.voxel_um));
      if (this.held !== particle) {  // all states at once: they are marked by one grey level, and swiped without delay
        const told = await Promise.all(this.layout.states.map((_, state) => server.solid(particle, state)));
        if (mine !== this.asked) return;
        const wide = this.layout.volumes.grey === "uint16";
        this.solids = told.map(({ shape, data }) => view.solid(shape, data, wide));
        this.held = particle;
      }
      this.draw(`${particle} ${this.shown.join()}`);
    } catch (error) {
      if (mine === this.asked) this.failed(error instanceof Error ? error.message : String(error));
    }
  }

  /** Draw with fewer pixels, as long as it moves: a quarter of the rays. */
  move() {
    clearTimeout(this.resting);
    this.resting = window.setTimeout(() => {
      this.resting = 0;
      this.draw();
    }, REST);
    this.draw();
  }

  /** Draw at the next frame. @param {string} [done] what is then shown */
  draw(done) {
    if (done) this.done = done;
    if (this.waiting || this.pane.hidden) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.drawNow();
    });
  }

  drawNow() {
    const { canvas, view, solids, shown } = this;
    if (!view || this.pane.hidden) return;
    const scale = (devicePixelRatio || 1) * (this.resting ? 0.5 : 1);
    const [width, height] = [this.cells.clientWidth, this.cells.clientHeight].map((n) => Math.max(1, Math.round(n * scale)));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const places = placed(shown.length, width, height);
    const { turn, near, window, surface, cut, dark, plane, state } = this.settings.values;
    const first = solids.find((each) => each.there);
    const level = dark >= 0 ? dark : Math.round(first?.halfway ?? 0);
    const most = Math.max(1, ...solids.map((each) => each.levels[1]));
    this.dark.max = String(most);
    this.dark.value = String(level);
    this.told.textContent = String(level);
    const axis = 2 - PLANES[/** @type {keyof typeof PLANES} */ (plane)].cut;
    view.draw(shown.map((k) => solids[k]), places, { turn, near, window, surface, cut, axis, dark: level });
    for (const [k, name] of this.names.entries()) {
      const place = places[shown.indexOf(k)];
      name.hidden = !place;
      if (!place) continue;
      name.textContent = `${this.layout.states[k].name}${solids[k] && !solids[k].there ? ": it is absent" : ""}`;
      name.style.left = `${100 * place.left}%`;
      name.style.top = `${100 * place.top}%`;
      name.classList.toggle("now", shown.length > 1 && k === state);
    }
    canvas.dataset.fine = String(!this.resting);
    if (this.done) canvas.dataset.shown = this.done;
    this.done = "";
  }
}

/**
 * Where so many cells lie, from 0 to 1, so that they are as large as can be.
 * @param {number} count
 * @param {number} width
 * @param {number} height
 */
function placed(count, width, height) {
  const edge = (/** @type {number} */ columns) => Math.min(width / columns, height / Math.ceil(count / columns));
  let columns = 1;
  for (let k = 2; k <= count; k++) if (edge(k) > edge(columns)) columns = k;
  const rows = Math.ceil(count / columns);
  return Array.from({ length: count }, (_, k) => ({
    left: (k % columns) / columns, top: Math.floor(k / columns) / rows, width: 1 / columns, height: 1 / rows,
  }));
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {import("./settings.js").Settings} settings
 */
function followMouse(canvas, settings) {
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    const [about, above] = settings.values.turn;
    const turned = [about - event.movementX / 150, Math.min(1.57, Math.max(-1.57, above + event.movementY / 150))];
    settings.change({ turn: turned.map((angle) => Math.round(angle * 1000) / 1000) });
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const near = Math.min(16, Math.max(0.5, settings.values.near * 1.0015 ** -event.deltaY));
    settings.change({ near: Math.round(near * 1000) / 1000 });
  }, { passive: false });
  canvas.addEventListener("dblclick", () => settings.change({ turn: DEFAULTS.turn, near: DEFAULTS.near }));
}
