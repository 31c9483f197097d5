// What is asked of the server: everything the page knows comes from here.
// @ts-check

/** An answer that says no. */
export class Refusal extends Error {}

/** @typedef {{name: string, voltage: number, step: string, cycle: number}} State */
/**
 * @typedef {{name: string, store: string, stamp: string, complete: boolean, report: boolean, done: string[], states: State[],
 *   shape: number[], voxel_um: number[], volumes: Record<string, string>, levels: number, stored_levels: number,
 *   tile: number, warnings: Finding[], notes: Finding[]}} Layout
 */
/** @typedef {{words: string, states: string[]}} Finding */
/** @typedef {{key: string, units: string, long_name: string, whole: boolean}} Column */
/** @typedef {{particles: number, cell: boolean, columns: Column[], class_limits: number[], significance: number, largest: number}} Catalogue */
/** @typedef {{count: number, first: number, labels: number[], columns: Record<string, (number | null)[]>}} Rows */
/**
 * @typedef {{label: number, columns: Record<string, (number | null)[]>, profile: (number | null)[][],
 *   shell_voxels: number[][], boxes: ([number, number][] | null)[], dropped: string[], reason: string | null}} Particle
 */
/** @typedef {{shape: number[], first: number[], step: number, index: number, data: ArrayBuffer}} Strip */
/**
 * @typedef {{level: number[], count: number[], share: number[], mean_change: (number | null)[],
 *   standard_error: (number | null)[], branch: string[],
 *   before: string[], after: string[], labels: number[], path: string[], reason?: string}} Paths
 */

/**
 * @typedef {{hours: number[], voltage: number[], charge: number[], current: number[], unit: string, start: string,
 *   states: {begin: number | null, end: number | null, voltage: number | null, charge: number | null, reason: string}[]}} Cell
 */

/**
 * @param {string} what
 * @param {Record<string, any>} [words]
 */
export function address(what, words = {}) {
  const told = new URLSearchParams();
  for (const [name, value] of Object.entries(words)) {
    told.set(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  return `api/${what}?${told}`;
}

/**
 * @param {string} what
 * @param {Record<string, any>} [words]
 * @param {AbortSignal} [signal]
 */
async function asked(what, words, signal) {
  let answer;
  try {
    answer = await fetch(address(what, words), { signal, credentials: "same-origin" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal("the server does not answer: was `crackdask explore` ended?");
  }
  if (!answer.ok) throw new Refusal((await answer.text()).trim());
  return answer;
}

/** @returns {Promise<Layout>} */
export const layout = async () => (await asked("layout")).json();
/** @returns {Promise<Catalogue>} */
export const catalogue = async () => (await asked("columns")).json();

/**
 * Grey levels and labels of a tile, and how many rows and columns it has.
 * @param {Record<string, any>} words
 * @param {AbortSignal} signal
 * @param {Uint8ArrayConstructor | Uint16ArrayConstructor} Greys
 */
export async function tile(words, signal, Greys) {
  const answer = await asked("tile", { volume: "both", ...words }, signal);
  const [rows, columns] = shape(answer);
  const count = Number(answer.headers.get("X-Runs"));
  const data = await answer.arrayBuffer();
  const [runs, lengths] = [new Uint32Array(data, 0, count), new Uint32Array(data, 4 * count, count)];
  const labels = new Uint32Array(rows * columns);
  let place = 0;
  for (let k = 0; k < count; k++) labels.fill(runs[k], place, (place += lengths[k]));
  return { rows, columns, greys: new Greys(data, 8 * count, rows * columns), labels };
}

/**
 * A column by label; NaN where there is no value.
 * @param {string} column
 * @param {number} state
 */
export async function column(column, state) {
  return new Float32Array(await (await asked("column", { column, state })).arrayBuffer());
}

/**
 * Which labels meet conditions.
 * @param {any[]} where
 */
export async function chosen(where) {
  const answer = await asked("chosen", { where });
  return { count: Number(answer.headers.get("X-Count")), marks: new Uint8Array(await answer.arrayBuffer()) };
}

/**
 * @param {number} state
 * @param {number[]} at
 * @returns {Promise<{grey: number, label: number}>}
 */
export async function voxel(state, [z, y, x]) {
  return (await asked("voxel", { state, z, y, x })).json();
}

/**
 * @param {Record<string, any>} words
 * @returns {Promise<Rows>}
 */
export const rows = async (words) => (await asked("rows", words)).json();

/**
 * @param {number} label
 * @param {string[]} columns
 * @returns {Promise<Particle>}
 */
export const particle = async (label, columns) => (await asked("particle", { label, columns: columns.join() })).json();

/**
 * @param {number} label
 * @param {string} plane
 * @param {number} index of the plane, or -1 for the particle's middle
 * @returns {Promise<Strip>}
 */
export async function strip(label, plane, index) {
  const answer = await asked("strip", { label, plane, index });
  const number = (/** @type {string} */ name) => Number(answer.headers.get(name));
  return {
    shape: shape(answer),
    first: (answer.headers.get("X-First") ?? "").split(",").map(Number),
    step: number("X-Step"),
    index: number("X-Index"),
    data: await answer.arrayBuffer(),
  };
}

/**
 * A particle in space in one state: grey levels, a byte each for what is its own, and, if known, for its cracks.
 * @param {number} label
 * @param {number} state
 */
export async function solid(label, state) {
  const answer = await asked("solid", { label, state });
  return { shape: shape(answer), step: Number(answer.headers.get("X-Step")), data: await answer.arrayBuffer() };
}

/**
 * Labels of a whole state, coarse.
 * @param {number} state
 */
export async function field(state) {
  const answer = await asked("field", { state });
  return { shape: shape(answer), step: Number(answer.headers.get("X-Step")), labels: new Uint32Array(await answer.arrayBuffer()) };
}

/** @returns {Promise<Paths>} */
export const paths = async () => (await asked("paths")).json();

/** @returns {Promise<Cell>} */
export const cell = async () => (await asked("cell")).json();

/** @param {Response} answer */
function shape(answer) {
  return (answer.headers.get("X-Shape") ?? "").split(",").map(Number);
}
