// A particle that is picked elsewhere than in the picture: the picture is moved so far that it shows it.
// @ts-check

import { within } from "./pointer.js";
import * as server from "./server.js";

const SHARE = 0.25; // of the picture that a particle takes at least when one goes to it

export class Picking {
  /**
   * @param {import("./volume_view.js").VolumeView} view
   * @param {import("./settings.js").Settings} settings
   * @param {(words: string) => void} failed
   */
  constructor(view, settings, failed) {
    this.view = view;
    this.settings = settings;
    this.failed = failed;
    this.asked = 0;
  }

  /** Pick a particle, and see to it that the picture shows it. @param {number} particle */
  pick(particle) {
    this.settings.change({ particle });
    return this.show(false);
  }

  /** Show the picked particle if an address tells of no place. */
  showUnlessPlaced() {
    return this.settings.values.at.some((/** @type {number} */ value) => value >= 0) ? null : this.show(false);
  }

  /** Go to the picked particle: it stands in the middle of the picture, and large. */
  goTo() {
    return this.show(true);
  }

  /** @param {boolean} closely whether it is to stand in the middle, and large; if not, whatever shows it is left as it is */
  async show(closely) {
    const { particle, state } = this.settings.values;
    const mine = ++this.asked;
    if (!particle) return;
    try {
      const { boxes } = await server.particle(particle, []);
      const box = boxes[state] ?? boxes.find((each) => each !== null);
      if (!box || mine !== this.asked || particle !== this.settings.values.particle) return;
      if (closely) this.centre(box);
      else this.uncover(box);
    } catch (error) {
      if (mine === this.asked) this.failed(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {[number, number][]} box */
  centre(box) {
    const { geometry, canvas } = this.view;
    const { row, column } = geometry.axes;
    const longest = Math.max(...[row, column].map((axis) => box[axis][1] - box[axis][0]));
    const zoom = Math.min(64, Math.max(geometry.zoom, (SHARE * Math.min(canvas.width, canvas.height)) / longest));
    this.settings.change({ at: within(middleOf(box), this.view.layout.shape), zoom: Number(zoom.toPrecision(6)) });
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
