// A particle that is picked elsewhere than in the picture: the picture is moved so far that it shows it.
// @ts-check

import { within } from "./pointer.js";

const SHARE = 0.25; // of the picture that a particle takes at least when one goes to it

export class Picking {
  /**
   * @param {import("./volume_view.js").VolumeView} view
   * @param {import("./settings.js").Settings} settings
   */
  constructor(view, settings) {
    this.view = view;
    this.settings = settings;
    /** What is known of a particle, since it was asked for. @type {import("./server.js").Particle | null} */
    this.told = null;
    /** @type {"" | "seen" | "close"} */
    this.wanted = "";
  }

  /** Pick a particle, and see to it that the picture shows it. @param {number} particle */
  pick(particle) {
    this.settings.change({ particle });
    this.want("seen");
  }

  /** Show the picked particle if an address tells of no place. */
  showUnlessPlaced() {
    if (this.settings.values.at.every((/** @type {number} */ value) => value < 0)) this.want("seen");
  }

  /** Go to the picked particle: it stands in the middle of the picture, and large. */
  goTo() {
    this.want("close");
  }

  /** Take what was told of the picked particle: its numbers are shown before the picture moves. @param {import("./server.js").Particle} told */
  take(told) {
    this.told = told;
    if (this.wanted) this.want(this.wanted);
  }

  /** @param {"seen" | "close"} how */
  want(how) {
    const { particle, state } = this.settings.values;
    const { told } = this;
    this.wanted = particle ? how : "";
    if (!told || !particle || told.label !== particle) return;
    this.wanted = "";
    const box = told.boxes[state] ?? told.boxes.find((each) => each !== null);
    if (!box) return;
    if (how === "close") this.centre(box);
    else this.uncover(box);
  }

  /** @param {[number, number][]} box */
  centre(box) {
    const { geometry, canvas } = this.view;
    const { row, column } = geometry.axes;
    const longest = Math.max(...[row, column].map((axis) => box[axis][1] - box[axis][0]));
    const zoom = Math.min(64, Math.max(geometry.zoom, (SHARE * Math.min(canvas.width, canvas.height)) / longest));
    const at = within(middleOf(box), this.view.layout.shape);
    this.settings.change({ at, zoom: Number(zoom.toPrecision(6)), solid: "" }); // 3D stands before the picture
  }

  /** @param {[number, number][]} box */
  uncover(box) {
    const { geometry, layout } = this.view;
    const { cut, row, column } = geometry.axes;
    const middle = middleOf(box);
    const cuts = box[cut][0] <= geometry.index && geometry.index < box[cut][1];
    const [x, y] = geometry.pixelOf(middle[row], middle[column]);
    const seen = x >= 0 && y >= 0 && x < geometry.width && y < geometry.height;
    if (cuts && seen) return;
    const at = seen ? [...geometry.at] : middle;
    at[cut] = cuts ? geometry.at[cut] : middle[cut];
    this.settings.change({ at: within(at, layout.shape) });
  }
}

/** @param {[number, number][]} box */
const middleOf = (box) => box.map(([first, last]) => (first + last) / 2);
