// Columns of the particles, as numbers by label: fetched once each.
// @ts-check

import { knowPaths, made, titled } from "./elements.js";
import * as server from "./server.js";

const KEPT = 24; // columns of a state: 2.4 MB each for 600 000 particles
const GROUPS = { damage: "damage", changes: "change since the state before", particles: "particle", cracks: "cracks", paths: "paths" };

/** A column's key without the state since which it is told. @param {string} key */
export const base = (key) => key.split("@")[0];

export class Columns {
  /**
   * @param {server.Catalogue} catalogue
   * @param {number} states how many there are
   * @param {import("./settings.js").Settings} settings
   */
  constructor(catalogue, states, settings) {
    this.catalogue = catalogue;
    this.settings = settings;
    this.states = states;
    /** Whether the damage is worked out, which takes some seconds; until then the columns of it are left out. */
    this.ready = false;
    /** @type {Promise<server.Paths> | undefined} */
    this.tree = undefined;
    this.known = new Map(catalogue.columns.map((column) => [column.key, column]));
    /** @type {Map<string, Promise<Float32Array>>} */
    this.kept = new Map();
    /** @type {Map<string, Promise<[number, number]>>} */
    this.spreads = new Map();
  }

  /** @param {string} key */
  has(key) {
    return this.known.has(base(key));
  }

  /** @param {string} key @returns {server.Column} */
  get(key) {
    return /** @type {server.Column} */ (this.known.get(base(key)));
  }

  /** Those of some columns that can be had at once. @param {string[]} keys */
  atHand(keys) {
    return this.ready ? keys : keys.filter((key) => !/^(damage|changes|paths)\./.test(key));
  }

  /** What a column is asked for by: changes are those since the state that was chosen. @param {string} key */
  now(key) {
    const { since } = this.settings.values;
    return key.startsWith("changes.") && !key.includes("@") && since >= 0 ? `${key}@${since}` : key;
  }

  /** The state since which changes of a state are told, -1 if there is none. @param {number} state */
  since(state) {
    const { since } = this.settings.values;
    return since < 0 ? state - 1 : since === state ? -1 : since;
  }

  /**
   * What is known of a particle, with some columns.
   * @param {number} label
   * @param {string[]} keys
   */
  async particle(label, keys) {
    const told = await server.particle(label, keys.map((key) => this.now(key)));
    return { ...told, columns: Object.fromEntries(Object.entries(told.columns).map(([key, column]) => [base(key), column])) };
  }

  /** The tree of damaged and healed. */
  paths() {
    this.tree ??= server.paths().then((told) => {
      if (!told.reason) knowPaths(Math.max(...told.level));
      return told;
    });
    return this.tree;
  }

  /**
   * A page of the table.
   * @param {Record<string, any> & {columns: string[], sort: string}} words
   */
  async rows(words) {
    const asked = { ...words, sort: this.now(words.sort), columns: words.columns.map((key) => this.now(key)).join() };
    const told = await server.rows(asked);
    return { ...told, columns: Object.fromEntries(Object.entries(told.columns).map(([key, column]) => [base(key), column])) };
  }

  /** The first of some columns that there is. @param {string[]} keys */
  first(...keys) {
    return /** @type {string} */ (keys.find((key) => this.has(key)) ?? this.known.keys().next().value);
  }

  /** Options of a selection, by table. */
  options() {
    return Object.entries(GROUPS).flatMap(([group, words]) => {
      const mine = this.catalogue.columns.filter(({ key }) => key.startsWith(`${group}.`));
      const all = mine.map((column) => made("option", { value: column.key, title: column.long_name }, titled(column)));
      return all.length ? [made("optgroup", { label: words }, ...all)] : [];
    });
  }

  /**
   * A column in a state, by label; NaN where there is no value.
   * @param {string} key
   * @param {number} state
   */
  values(key, state) {
    const name = `${this.now(key)} ${state}`;
    let found = this.kept.get(name);
    if (found) this.kept.delete(name);
    else {
      found = server.column(this.now(key), state);
      found.catch(() => this.kept.delete(name)); // asked for again the next time
    }
    this.kept.set(name, found);
    if (this.kept.size > KEPT) this.kept.delete(/** @type {string} */ (this.kept.keys().next().value));
    return found;
  }

  /**
   * The 2nd and 98th percentile of a column over the first, the middle and the last state, so that states compare.
   * @param {string} key
   * @param {boolean} signed as far below 0 as above
   */
  spread(key, signed) {
    const name = `${this.now(key)} ${signed}`;
    let found = this.spreads.get(name);
    if (!found) {
      found = this.spreadOf(key, signed);
      found.catch(() => this.spreads.delete(name));
      this.spreads.set(name, found);
    }
    return found;
  }

  /** @param {string} key @param {boolean} signed @returns {Promise<[number, number]>} */
  async spreadOf(key, signed) {
    const last = this.states - 1;
    const states = [...new Set([0, last >> 1, last])];
    const parts = await Promise.all(states.map((state) => this.values(key, state)));
    const sample = [];
    for (const part of parts) {
      const step = Math.max(1, Math.floor(part.length / 20000));
      for (let k = 1; k < part.length; k += step) if (Number.isFinite(part[k])) sample.push(part[k]);
    }
    sample.sort((a, b) => a - b);
    const low = sample[Math.floor(0.02 * (sample.length - 1))] ?? 0;
    const high = sample[Math.ceil(0.98 * (sample.length - 1))] ?? 1;
    if (signed) {
      const far = Math.max(Math.abs(low), Math.abs(high)) || 1;
      return [-far, far];
    }
    return high > low ? [low, high] : [low, low + 1];
  }
}
