// What is drawn in space over the picture: turned by the mouse, with fewer pixels as long as it moves.
// @ts-check

import { roundLength } from "./controls.js";
import { byId, made, radio } from "./elements.js";
import { DEFAULTS } from "./settings.js";

const REST = 200; // ms after a move at which the picture is drawn with all its pixels again
const STILL = 4; // pixels that a click may move
const WAYS = [
  { value: "one", words: "particle", title: "the picked particle in the state that is shown" },
  { value: "all", words: "its states", title: "the picked particle in every state, side by side" },
  { value: "field", words: "whole field", title: "all particles" },
];

/** Show the next thing in 3D: of the picked particle, then of all, then none. @param {import("./settings.js").Settings} settings */
export function nextSolid(settings) {
  const { particle, solid } = settings.values;
  const ways = particle ? ["", "one", "all", "field"] : ["", "field"];
  settings.change({ solid: ways[(ways.indexOf(solid) + 1) % ways.length] });
}

export class SpacePanel {
  /**
   * @param {string} id of the element that it fills
   * @param {import("./settings.js").Settings} settings
   * @param {string} label
   * @param {"cut" | "open"} cut the choice that tells how much is cut off
   */
  constructor(id, settings, label, cut) {
    this.cut = cut;
    this.settings = settings;
    this.pane = byId(id);
    this.canvas = /** @type {HTMLCanvasElement} */ (made("canvas", { "aria-label": label }));
    this.note = made("span", { className: "reading", hidden: true });
    this.legend = made("span", { className: "legend3d", hidden: true });
    this.scale = made("span", { className: "scale3d", hidden: true });
    this.cells = made("div", { className: "cells" }, this.canvas, this.note, this.legend, this.scale);
    this.done = "";
    this.waiting = 0;
    this.resting = 0;
    this.pane.addEventListener("keydown", (event) => { // from its sliders, where the page's keys do nothing
      if (event.key !== "Escape") return;
      event.stopPropagation();
      settings.change({ solid: "" });
    });
    followMouse(this.canvas, settings, (x, y) => this.clicked(x, y));
    new ResizeObserver(() => this.draw()).observe(this.cells);
    settings.follow(["turn", "near", cut], () => this.move());
    settings.follow(["plane"], () => this.draw());
  }

  /** A bar of what can be chosen: what is shown, what is cut off, others, and an end. @param {HTMLElement[]} others */
  bar(...others) {
    const group = made("span", { className: "choice", role: "radiogroup", "aria-label": "what is shown in 3D" });
    const show = radio(group, WAYS, (solid) => this.settings.change({ solid }));
    this.settings.follow(["solid", "particle"], () => {
      show(this.settings.values.solid);
      for (const button of group.children) button.disabled = button.dataset.value !== "field" && !this.settings.values.particle;
    });
    const cut = this.slider(this.cut, "cut", "Cut it open, along the axis of the chosen plane (keys 1 2 3)", 1, 0.01);
    const close = made("button", { type: "button", title: "Close 3D (key Esc)", "aria-label": "close 3D", onclick: () => this.settings.change({ solid: "" }) }, "×");
    return made("div", { className: "bar" }, group, cut, ...others, close);
  }

  /**
   * A slider of one of the choices, with its words.
   * @param {string} name
   * @param {string} words
   * @param {string} title
   * @param {number} max
   * @param {number} step
   */
  slider(name, words, title, max, step) {
    const input = made("input", { type: "range", min: 0, max, step, oninput: () => this.settings.change({ [name]: Number(input.value) }) });
    this.settings.follow([name], () => { input.value = String(this.settings.values[name]); });
    return made("label", { title }, `${words} `, input);
  }

  /** Say what is waited for, until something is drawn. @param {string} words */
  waits(words) {
    this.note.textContent = words;
    this.note.hidden = false;
  }

  /**
   * Say what is seen, and how long a bar is.
   * @param {string} words
   * @param {number} um what the width of a cell spans
   * @param {number} width of a cell on the screen, in pixels
   */
  tell(words, um, width) {
    this.legend.textContent = words;
    this.legend.hidden = !words;
    this.scale.hidden = !um;
    if (!um) return;
    const length = roundLength((100 * um) / width);
    this.scale.textContent = `${length} µm`;
    this.scale.style.width = `${(length * width) / um}px`;
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
      if (this.pane.hidden) return;
      const scale = (devicePixelRatio || 1) * (this.resting ? 0.5 : 1);
      const [width, height] = [this.cells.clientWidth, this.cells.clientHeight].map((n) => Math.max(1, Math.round(n * scale)));
      const { canvas } = this;
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      if (!this.drawNow(width, height)) return;
      if (this.done) this.note.hidden = true;
      canvas.dataset.fine = String(!this.resting);
      if (this.done) canvas.dataset.shown = this.done;
      this.done = "";
    });
  }

  /** Draw now; tells whether there was something. @param {number} _width @param {number} _height @returns {boolean} */
  drawNow(_width, _height) {
    return false;
  }

  /** Something was clicked at, from 0 to 1. @param {number} _x @param {number} _y */
  clicked(_x, _y) {}
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {import("./settings.js").Settings} settings
 * @param {(x: number, y: number) => void} clicked
 */
function followMouse(canvas, settings, clicked) {
  let far = 0;
  canvas.addEventListener("pointerdown", (event) => {
    far = 0;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    far += Math.hypot(event.movementX, event.movementY);
    if (far < STILL) return;
    const [about, above] = settings.values.turn;
    const turned = [about - event.movementX / 150, Math.min(1.57, Math.max(-1.57, above + event.movementY / 150))];
    settings.change({ turn: turned.map((angle) => Math.round(angle * 1000) / 1000) });
  });
  canvas.addEventListener("pointerup", (event) => {
    if (far < STILL && event.button === 0) clicked(event.offsetX / canvas.clientWidth, event.offsetY / canvas.clientHeight);
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const near = Math.min(16, Math.max(0.5, settings.values.near * 1.0015 ** -event.deltaY));
    settings.change({ near: Math.round(near * 1000) / 1000 });
  }, { passive: false });
  canvas.addEventListener("dblclick", () => settings.change({ turn: DEFAULTS.turn, near: DEFAULTS.near }));
}
