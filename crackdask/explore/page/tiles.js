// Tiles that were fetched: kept as textures, the one that was not drawn for longest goes first.
// @ts-check

import * as server from "./server.js";
import { wholeTexture } from "./textures.js";

/** Tiles kept (each takes 0.6 MB, half of it on the graphics card), and asked for at once. */
const MOST = 200;
const AT_ONCE = 6;
const ARRAYS = { uint8: Uint8Array, uint16: Uint16Array };

/** @typedef {{state: number, plane: string, index: number, level: number, row: number, column: number}} Place */
/**
 * @typedef {Place & {rows: number, columns: number, grey: WebGLTexture, label: WebGLTexture,
 *   greys: Uint8Array | Uint16Array, labels: Uint32Array}} Tile
 */

/** @param {Place} place */
export const nameOf = (place) =>
  `${place.state} ${place.plane} ${place.index >> place.level} ${place.level} ${place.row} ${place.column}`;

export class Tiles {
  /**
   * @param {WebGL2RenderingContext} gl
   * @param {server.Layout} layout
   * @param {(name: string) => void} arrived told of each tile that has come
   * @param {(words: string) => void} failed
   */
  constructor(gl, layout, arrived, failed) {
    this.gl = gl;
    this.layout = layout;
    this.arrived = arrived;
    this.failed = failed;
    /** @type {Map<string, Tile>} */
    this.held = new Map();
    /** @type {Map<string, AbortController>} */
    this.coming = new Map();
    /** @type {Map<string, Place>} */
    this.wanted = new Map();
    /** @type {Set<string>} */
    this.refused = new Set();
  }

  /** A tile that is there, or undefined. @param {Place} place */
  get(place) {
    const name = nameOf(place);
    const tile = this.held.get(name);
    if (tile) {
      this.held.delete(name);
      this.held.set(name, tile);
    }
    return tile;
  }

  /** All tiles that are there. */
  all() {
    return [...this.held.values()];
  }

  /**
   * Fetch tiles, the first ones first; those that were wanted before and are not any more are given up.
   * @param {Place[]} places
   */
  want(places) {
    this.wanted = new Map(places.map((place) => [nameOf(place), place]));
    for (const [name, request] of this.coming) if (!this.wanted.has(name)) request.abort();
    this.next();
  }

  next() {
    for (const [name, place] of this.wanted) {
      if (this.coming.size >= AT_ONCE) return;
      if (!this.held.has(name) && !this.coming.has(name) && !this.refused.has(name)) this.fetch(name, place);
    }
  }

  /** Forget all, as when the store has changed. */
  clear() {
    for (const request of this.coming.values()) request.abort();
    for (const tile of this.held.values()) this.drop(tile);
    this.held.clear();
    this.refused.clear();
  }

  /**
   * @param {string} name
   * @param {Place} place
   */
  async fetch(name, place) {
    const request = new AbortController();
    this.coming.set(name, request);
    try {
      const Greys = ARRAYS[/** @type {"uint8" | "uint16"} */ (this.layout.volumes.grey)];
      const { rows, columns, greys, labels } = await server.tile(place, request.signal, Greys);
      if (request.signal.aborted) return;
      this.held.set(name, {
        ...place, rows, columns, greys, labels,
        grey: wholeTexture(this.gl, columns, rows, greys), label: wholeTexture(this.gl, columns, rows, labels),
      });
      while (this.held.size > MOST) this.dropOldest();
      this.arrived(name);
    } catch (error) {
      if (!request.signal.aborted) {
        this.refused.add(name);
        this.failed(error instanceof Error ? error.message : String(error));
      }
    } finally {
      this.coming.delete(name);
      this.next();
    }
  }

  dropOldest() {
    const [[name, tile]] = this.held;
    this.held.delete(name);
    this.drop(tile);
  }

  /** @param {Tile} tile */
  drop(tile) {
    this.gl.deleteTexture(tile.grey);
    this.gl.deleteTexture(tile.label);
  }
}
