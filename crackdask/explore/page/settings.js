// What is looked at: every choice of the user's, kept in the address after "#", so that a copied link shows the same.
// @ts-check

/** Choices of a page that was just opened. Lists are numbers; `where` and `brush` are lists of conditions. */
export const DEFAULTS = {
  state: 0, // number of the state
  plane: "xy",
  at: [-1, -1, -1], // voxel in the middle of the picture: z, y, x; -1: not chosen yet
  zoom: 0, // pixels of the screen a voxel; 0: the whole plane
  window: [0, 255], // grey levels shown black and white
  labels: "fill", // fill, outline, off
  opacity: 0.6,
  colour: "", // column that colours particles; "": each in a colour of its own
  map: "viridis",
  range: [0, 0], // values at the ends of the map; equal: by themselves
  particle: 0, // label of the picked particle; 0: none
  since: -1, // state that changes of damage are told since; -1: the one before each
  where: [], // conditions that particles in table, picture and charts meet
  brush: [], // further ones, drawn in a chart: what meets them stands out
  sort: "particles.tracked", // of those that are not tracked little is known
  descending: true,
  first: 0, // row at which the table begins
  shown: "", // columns of the table, with commas between them; "": the usual ones
  tab: "particle",
  histogram: "",
  across: "", // columns of the scatter plot
  up: "",
  parts: 4, // equal groups that the histogram marks
  along: "time", // what the record of the cell is drawn along: time, charge
  from: "edge", // where radial profiles begin
  solid: "", // in space: the picked particle in one state or in all, the whole field; "": nothing
  turn: [0.7, 0.5], // where it is seen from: angle about z and above the plane xy, in radians
  near: 1, // how many times larger than whole
  surface: 0.3, // how opaque its surface is
  cut: 0.5, // part of the particle that is cut off, along the axis of the plane
  open: 0, // and of the whole field
  measured: true, // show cracks and skeleton that the store has of it, rather than what is dark
  dark: -1, // grey level below which its inside is marked as crack; -1: by itself
  theme: "", // light, dark; "": as the system says
};

/** @typedef {typeof DEFAULTS} Choices */
/** @typedef {[column: string, state: number, low: number | null, high: number | null]} Condition */

const AFTER = 150; // ms; browsers refuse an address that changes with every move of the mouse

export class Settings extends EventTarget {
  /** @param {string} text what stands after "#" */
  constructor(text) {
    super();
    /** @type {any} */
    this.values = { ...structuredClone(DEFAULTS), ...parsed(text) };
    this.waiting = 0;
  }

  /**
   * Change some choices; whoever listens to "change" is told which, if any.
   * @param {Record<string, any>} choices
   */
  change(choices) {
    const names = Object.keys(choices).filter((name) => !same(this.values[name], choices[name]));
    if (!names.length) return;
    for (const name of names) this.values[name] = choices[name];
    this.dispatchEvent(new CustomEvent("change", { detail: new Set(names) }));
    if (!this.waiting) {
      this.waiting = window.setTimeout(() => {
        this.waiting = 0;
        history.replaceState(null, "", this.link());
      }, AFTER);
    }
  }

  /** Take the choices of another address. @param {string} text */
  read(text) {
    this.change({ ...structuredClone(DEFAULTS), ...parsed(text) });
  }

  /** Put right what an address told that cannot be. @param {number} states how many there are */
  fit(states) {
    const { state, since, plane, labels, map, opacity, zoom, solid, near, turn } = this.values;
    this.change({
      state: Math.min(states - 1, Math.max(0, Math.trunc(state) || 0)),
      since: Math.min(states - 1, Math.max(-1, Math.trunc(since))),
      plane: ["xy", "xz", "yz"].includes(plane) ? plane : DEFAULTS.plane,
      labels: ["fill", "outline", "off"].includes(labels) ? labels : DEFAULTS.labels,
      map: ["viridis", "cividis", "diverging"].includes(map) ? map : DEFAULTS.map,
      opacity: Math.min(1, Math.max(0.1, opacity)),
      zoom: Math.min(64, Math.max(0, zoom)),
      solid: ["one", "all", "field"].includes(solid) ? solid : DEFAULTS.solid,
      near: Math.min(16, Math.max(0.5, near)),
      turn: [turn[0], Math.min(1.57, Math.max(-1.57, turn[1]))],
    });
  }

  /** The address of what is looked at. */
  link() {
    const written = new URLSearchParams();
    for (const [name, usual] of Object.entries(DEFAULTS)) {
      const value = this.values[name];
      if (!same(value, usual)) written.set(name, typeof value === "string" ? value : JSON.stringify(value));
    }
    const text = written.toString().replaceAll("%2C", ",").replaceAll("%5B", "[").replaceAll("%5D", "]");
    return `${location.pathname}${location.search}${text ? `#${text}` : ""}`;
  }

  /**
   * Call a function whenever one of some choices changes, and once now.
   * @param {string[]} names
   * @param {() => void} action
   */
  follow(names, action) {
    this.addEventListener("change", (event) => {
      const changed = /** @type {CustomEvent<Set<string>>} */ (event).detail;
      if (names.some((name) => changed.has(name))) action();
    });
    action();
  }
}

/**
 * Return the choices that an address tells; what makes no sense is left out.
 * @param {string} text
 */
function parsed(text) {
  /** @type {Record<string, any>} */
  const told = {};
  for (const [name, value] of new URLSearchParams(text)) {
    if (!Object.hasOwn(DEFAULTS, name)) continue;
    const usual = /** @type {any} */ (DEFAULTS)[name];
    if (typeof usual === "string") {
      told[name] = value;
      continue;
    }
    try {
      const found = JSON.parse(value);
      const alike = typeof found === typeof usual && Array.isArray(found) === Array.isArray(usual);
      const full = !Array.isArray(usual) || !usual.length || (found.length === usual.length && found.every(isFinite));
      if (alike && full) told[name] = found;
    } catch {
      // what somebody wrote by hand and is no JSON
    }
  }
  return told;
}

/** @param {any} a @param {any} b */
function same(a, b) {
  return a === b || (typeof a === "object" && JSON.stringify(a) === JSON.stringify(b));
}
