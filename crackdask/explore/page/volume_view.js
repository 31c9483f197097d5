// The picture of a plane: grey levels, particles in colour, drawn from tiles by the graphics card.
// @ts-check

import { colours } from "./colour_maps.js";
import { Geometry } from "./plane_geometry.js";
import { Paint } from "./paint.js";
import { tileProgram } from "./shaders.js";
import { colourTexture, markTexture, valueTexture, WIDE } from "./textures.js";
import { nameOf, Tiles } from "./tiles.js";

const MODES = { off: 0, fill: 1, outline: 2 };
const PATIENCE = 3000; // ms
const PARTS = 120; // ms after which a part of a picture is shown: each time takes long where there is no graphics card
const AHEAD = 1; // slices fetched beside the one that is shown, once that is there

export class VolumeView {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./server.js").Layout} layout
   * @param {import("./settings.js").Settings} settings
   * @param {(words: string) => void} failed
   */
  constructor(canvas, layout, settings, failed) {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false, preserveDrawingBuffer: true });
    if (!gl) throw new Error("this browser has no WebGL 2, which draws the picture; a current Firefox or Chromium has");
    this.gl = gl;
    this.canvas = canvas;
    this.layout = layout;
    this.settings = settings;
    this.tiles = new Tiles(gl, layout, (name) => this.arrived(name), failed);
    /** Names of tiles of the picture that are not there yet. @type {Set<string>} */
    this.missing = new Set();
    this.later = 0;
    const { program, places } = tileProgram(gl);
    this.places = places;
    gl.useProgram(program);
    for (const [unit, name] of ["grey", "label", "marks", "values", "colours"].entries()) gl.uniform1i(places[name], unit);
    this.marks = markTexture(gl, null, new Uint8Array(1));
    this.values = valueTexture(gl, null, new Float32Array(1));
    this.map = colourTexture(gl, null, colours("viridis"));
    this.paint = new Paint();
    this.background = [0, 0, 0];
    this.waiting = 0;
    /** @type {(() => void)[]} */
    this.drawn = [];
    this.resize();
    new ResizeObserver(() => this.resize()).observe(canvas);
    settings.follow(["state", "plane", "at", "zoom", "window", "labels", "opacity", "particle"], () => this.draw());
  }

  get geometry() {
    return new Geometry(this.layout, this.settings.values, this.canvas.width, this.canvas.height);
  }

  resize() {
    const scale = devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight].map((n) => Math.max(1, Math.round(n * scale)));
    if (width === this.canvas.width && height === this.canvas.height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.draw();
  }

  /** Particles' marks by label: 1 meets the filters, 2 is brushed too. @param {Uint8Array} marks @param {boolean} brushed */
  mark(marks, brushed) {
    markTexture(this.gl, this.marks, marks);
    this.paint.change({ marks, brushed });
    this.draw();
  }

  /**
   * Colour particles by numbers; null: each in a colour of its own.
   * @param {Float32Array | null} values
   * @param {string} [name] what they are
   * @param {(value: number) => string} [said] a value in words
   */
  colourBy(values, name = "", said = String) {
    if (values) valueTexture(this.gl, this.values, values);
    this.paint.change({ values, name, said });
    this.draw();
  }

  /** @param {string} map @param {[number, number]} range */
  colourLike(map, range) {
    colourTexture(this.gl, this.map, colours(map));
    this.paint.change({ map, range });
    this.draw();
  }

  /** Wait until a picture was whole, or for a while. */
  firstPicture() {
    return new Promise((resolve) => {
      setTimeout(resolve, PATIENCE);
      this.drawn.push(() => {
        if (this.canvas.dataset.ready === "true") resolve(null);
      });
    });
  }

  /**
   * A tile has come: draw once the picture is whole, or after a while what there is of it; not for slices beside it.
   * @param {string} name
   */
  arrived(name) {
    if (!this.missing.delete(name)) return;
    if (!this.missing.size) this.draw();
    else this.later ||= window.setTimeout(() => this.draw(), PARTS);
  }

  /** Draw at the next frame. */
  draw() {
    clearTimeout(this.later);
    this.later = 0;
    if (this.waiting) return;
    this.canvas.dataset.ready = "false";
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.drawNow();
    });
  }

  drawNow() {
    const { gl, canvas, geometry } = this;
    const { state, plane } = this.settings.values;
    const { index, level } = geometry;
    const visible = geometry.tiles(level).map((place) => ({ state, plane, index, level, ...place }));
    const there = visible.filter((place) => this.tiles.get(place));
    const whole = there.length === visible.length;
    this.missing = new Set(visible.filter((place) => !there.includes(place)).map(nameOf));
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(this.background[0], this.background[1], this.background[2], 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    this.setLook();
    const now = `${state} ${plane} ${index}`;
    if (!whole) {
      // What was whole before stays until the new one is there; of the new one, what other levels have of it.
      if (this.before && this.before.plane === plane) this.drawAll(geometry, this.before);
      this.drawAll(geometry, { state, plane, index });
    }
    for (const place of there) this.drawTile(geometry, /** @type {import("./tiles.js").Tile} */ (this.tiles.get(place)));
    if (whole) this.before = { state, plane, index };
    this.canvas.dataset.ready = String(whole);
    this.canvas.dataset.shown = now;
    this.tiles.want(whole ? this.beside(visible) : visible);
    for (const action of this.drawn) action();
  }

  /** Tiles of the slices before and behind. @param {import("./tiles.js").Place[]} visible */
  beside(visible) {
    const last = this.layout.shape[this.geometry.axes.cut] - 1;
    const step = 2 ** this.geometry.level;
    return [AHEAD, -AHEAD].flatMap((k) =>
      visible.map((place) => ({ ...place, index: place.index + k * step })).filter(({ index }) => index >= 0 && index <= last),
    );
  }

  /**
   * Draw all tiles of a slice that are there, the coarsest first.
   * @param {import("./plane_geometry.js").Geometry} geometry
   * @param {{state: number, plane: string, index: number}} slice
   */
  drawAll(geometry, { state, plane, index }) {
    const fitting = this.tiles.all().filter(
      (tile) => tile.state === state && tile.plane === plane && tile.index >> tile.level === index >> tile.level,
    );
    for (const tile of fitting.sort((a, b) => b.level - a.level)) this.drawTile(geometry, tile);
  }

  setLook() {
    const { gl, places, paint, settings: { values: chosen } } = this;
    gl.uniform2f(places.window, chosen.window[0], chosen.window[1]);
    gl.uniform2f(places.range, paint.range[0], paint.range[1]);
    gl.uniform1f(places.opacity, chosen.opacity);
    gl.uniform1i(places.mode, MODES[/** @type {keyof typeof MODES} */ (chosen.labels)] ?? 1);
    gl.uniform1i(places.wide, WIDE);
    gl.uniform1ui(places.picked, chosen.particle);
    gl.uniform1i(places.coloured, Number(paint.values !== null));
    gl.uniform1i(places.brushed, Number(paint.brushed));
    for (const [unit, texture] of [this.marks, this.values, this.map].entries()) {
      gl.activeTexture(gl.TEXTURE2 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
    }
  }

  /**
   * @param {import("./plane_geometry.js").Geometry} geometry
   * @param {import("./tiles.js").Tile} tile
   */
  drawTile(geometry, tile) {
    const { gl, places, canvas, layout } = this;
    const step = 2 ** tile.level;
    const first = [tile.row * layout.tile * step, tile.column * layout.tile * step];
    const [x0, y0] = geometry.pixelOf(first[0], first[1]);
    const [x1, y1] = geometry.pixelOf(first[0] + tile.rows * step, first[1] + tile.columns * step);
    const [w, h] = [canvas.width / 2, canvas.height / 2];
    gl.uniform4f(places.place, x0 / w - 1, 1 - y0 / h, x1 / w - 1, 1 - y1 / h);
    gl.uniform2f(places.size, tile.columns, tile.rows);
    gl.uniform1f(places.pixel, 1 / (geometry.zoom * step));
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, tile.grey);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, tile.label);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  /**
   * Grey level and label under a pixel, from the tile that is there; null where there is none.
   * @param {number} x
   * @param {number} y
   */
  under(x, y) {
    const { geometry } = this;
    const position = geometry.positionAt(x, y);
    if (!geometry.inside(position)) return null;
    const { state, plane } = this.settings.values;
    const { index, level } = geometry;
    const step = 2 ** level;
    const size = this.layout.tile;
    const [r, c] = geometry.voxelAt(x, y).map((value) => Math.floor(value / step));
    const tile = this.tiles.get({ state, plane, index, level, row: Math.floor(r / size), column: Math.floor(c / size) });
    if (!tile) return null;
    const place = (r % size) * tile.columns + (c % size);
    return { position, grey: tile.greys[place], label: tile.labels[place] };
  }
}

