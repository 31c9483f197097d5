// How particles are painted, by label: what meets the filters, the numbers of a column, the map of its colours.
// @ts-check

/** What the plane and the whole field look like; whoever listens to "change" paints anew. */
export class Paint extends EventTarget {
  constructor() {
    super();
    /** 1 of labels that meet the filters, 2 of those that are brushed too @type {Uint8Array} */
    this.marks = new Uint8Array(1);
    this.brushed = false;
    /** numbers of a column; null: each particle in a colour of its own @type {Float32Array | null} */
    this.values = null;
    /** what they are */
    this.name = "";
    /** a value in words @type {(value: number) => string} */
    this.said = String;
    this.map = "viridis";
    /** @type {[number, number]} */
    this.range = [0, 1];
  }

  /** @param {Partial<Pick<Paint, "marks" | "brushed" | "values" | "name" | "said" | "map" | "range">>} parts */
  change(parts) {
    Object.assign(this, parts);
    this.dispatchEvent(new CustomEvent("change", { detail: new Set(Object.keys(parts)) }));
  }
}
