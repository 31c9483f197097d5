// Where voxels are in the picture of a plane.
// @ts-check

/** Axes (of z, y, x) that a plane cuts, and those of its rows and columns. */
export const PLANES = {
  xy: { cut: 0, row: 1, column: 2 },
  xz: { cut: 1, row: 0, column: 2 },
  yz: { cut: 2, row: 0, column: 1 },
};
export const AXES = ["z", "y", "x"];

/** @param {string} plane */
export const axesOf = (plane) => PLANES[/** @type {keyof typeof PLANES} */ (plane)] ?? PLANES.xy;

export class Geometry {
  /**
   * @param {{shape: number[], voxel_um: number[], levels: number, tile: number}} layout
   * @param {{plane: string, at: number[], zoom: number}} choices
   * @param {number} width of the picture, in pixels
   * @param {number} height
   */
  constructor(layout, choices, width, height) {
    this.layout = layout;
    this.axes = axesOf(choices.plane);
    this.width = width;
    this.height = height;
    const { row, column } = this.axes;
    const um = layout.voxel_um;
    const finest = Math.min(um[row], um[column]);
    // Voxels need not be cubes: pixels a voxel along rows and columns.
    this.stretch = [um[row] / finest, um[column] / finest];
    const whole = Math.min(height / (layout.shape[row] * this.stretch[0]), width / (layout.shape[column] * this.stretch[1]));
    this.zoom = choices.zoom > 0 ? choices.zoom : 0.96 * whole;
    // What is seen whole stands in the middle, wherever one was in another plane.
    const middle = (/** @type {number} */ axis) => choices.at[axis] < 0 || (choices.zoom <= 0 && axis !== this.axes.cut);
    this.at = choices.at.map((value, k) => (middle(k) ? layout.shape[k] / 2 : value));
    /** Voxel of the plane along the axis that it cuts. */
    this.index = Math.max(0, Math.min(layout.shape[this.axes.cut] - 1, Math.floor(this.at[this.axes.cut])));
    this.level = Math.max(0, Math.min(layout.levels - 1, Math.round(Math.log2(1 / this.zoom))));
  }

  /** Voxel (row, column) at a pixel. @param {number} x @param {number} y */
  voxelAt(x, y) {
    const { row, column } = this.axes;
    return [
      this.at[row] + (y - this.height / 2) / (this.zoom * this.stretch[0]),
      this.at[column] + (x - this.width / 2) / (this.zoom * this.stretch[1]),
    ];
  }

  /** Pixel (x, y) of a voxel's (row, column). @param {number} r @param {number} c */
  pixelOf(r, c) {
    const { row, column } = this.axes;
    return [
      this.width / 2 + (c - this.at[column]) * this.zoom * this.stretch[1],
      this.height / 2 + (r - this.at[row]) * this.zoom * this.stretch[0],
    ];
  }

  /** Position (z, y, x) at a pixel. @param {number} x @param {number} y */
  positionAt(x, y) {
    const { cut, row, column } = this.axes;
    const [r, c] = this.voxelAt(x, y);
    const position = [0, 0, 0];
    position[cut] = this.index;
    position[row] = r;
    position[column] = c;
    return position;
  }

  /** Tell whether a position is within the volume. @param {number[]} position */
  inside(position) {
    return position.every((value, k) => value >= 0 && value < this.layout.shape[k]);
  }

  /**
   * Tiles of a level that the picture shows, those in its middle first.
   * @param {number} level
   * @returns {{row: number, column: number}[]}
   */
  tiles(level) {
    const { row, column } = this.axes;
    const size = this.layout.tile * 2 ** level;
    const [top, left] = this.voxelAt(0, 0);
    const [bottom, right] = this.voxelAt(this.width, this.height);
    const span = (/** @type {number} */ low, /** @type {number} */ high, /** @type {number} */ n) => [
      Math.max(0, Math.floor(low / size)), Math.min(Math.ceil(n / size), Math.ceil(high / size)),
    ];
    const [r0, r1] = span(top, bottom, this.layout.shape[row]);
    const [c0, c1] = span(left, right, this.layout.shape[column]);
    const found = [];
    for (let r = r0; r < r1; r++) for (let c = c0; c < c1; c++) found.push({ row: r, column: c });
    const [mr, mc] = [(top + bottom) / 2 / size - 0.5, (left + right) / 2 / size - 0.5];
    return found.sort((a, b) => Math.hypot(a.row - mr, a.column - mc) - Math.hypot(b.row - mr, b.column - mc));
  }
}
