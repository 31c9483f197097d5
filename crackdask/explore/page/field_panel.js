// The whole field in 3D, over the picture: every particle in the colour of a column, in the state that is shown.
// @ts-check

import { FieldView } from "./field_view.js";
import { made } from "./elements.js";
import { PLANES } from "./plane_geometry.js";
import * as server from "./server.js";
import { SpacePanel } from "./space_panel.js";

const KEPT = 2; // states on the graphics card, of 32 MB at most

/**
 * @param {server.Layout} layout
 * @param {import("./settings.js").Settings} settings
 * @param {import("./paint.js").Paint} paint
 * @param {import("./picking.js").Picking} picking
 * @param {(words: string) => void} failed
 */
export const followField = (layout, settings, paint, picking, failed) => new FieldPanel(layout, settings, paint, picking, failed);

class FieldPanel extends SpacePanel {
  /**
   * @param {server.Layout} layout
   * @param {import("./settings.js").Settings} settings
   * @param {import("./paint.js").Paint} paint
   * @param {import("./picking.js").Picking} picking
   * @param {(words: string) => void} failed
   */
  constructor(layout, settings, paint, picking, failed) {
    super("field", settings, "the whole field in 3D", "open");
    this.layout = layout;
    this.paint = paint;
    this.picking = picking;
    this.failed = failed;
    /** @type {FieldView | null} */
    this.view = null;
    /** By state, the one that was seen last at the end. @type {Map<number, import("./field_view.js").Field>} */
    this.fields = new Map();
    this.asked = 0;
    this.name = made("span");
    this.told = made("output");
    this.cells.append(this.name);
    this.pane.append(this.bar(this.told), this.cells);
    settings.follow(["solid", "state"], () => this.ask());
    settings.follow(["particle"], () => this.draw());
    paint.addEventListener("change", (event) => {
      this.view?.painted(/** @type {CustomEvent<Set<string>>} */ (event).detail);
      this.draw();
    });
  }

  async ask() {
    const { solid, state } = this.settings.values;
    const mine = ++this.asked;
    this.pane.hidden = solid !== "field";
    this.canvas.dataset.shown = "";
    if (this.pane.hidden) {
      for (const field of this.fields.values()) this.view?.forget(field);
      this.fields.clear();
      return;
    }
    try {
      const view = (this.view ??= new FieldView(this.canvas, this.layout.voxel_um, this.paint));
      let field = this.fields.get(state);
      if (!field) {
        this.waits(`reading ${this.layout.states[state].name} …`);
        const { shape, step, labels } = await server.field(state);
        if (mine !== this.asked) return;
        field = view.field(shape, step, labels);
        this.told.textContent = step > 1 ? `every ${step}${step === 2 ? "nd" : "th"} voxel` : "";
      }
      this.fields.delete(state);
      this.fields.set(state, field);
      for (const [first, old] of this.fields) {
        if (this.fields.size <= KEPT) break;
        view.forget(old);
        this.fields.delete(first);
      }
      this.done = String(state);
      this.move(); // with few pixels first: it is the largest picture that there is
    } catch (error) {
      if (mine === this.asked) this.failed(error instanceof Error ? error.message : String(error));
    }
  }

  /** The state that is drawn: that which came last. */
  get latest() {
    return [...this.fields.entries()].at(-1);
  }

  get look() {
    const { turn, near, open, plane, particle } = this.settings.values;
    return { turn, near, cut: open, axis: 2 - PLANES[/** @type {keyof typeof PLANES} */ (plane)].cut, picked: particle };
  }

  drawNow() {
    const { view, latest, look } = this;
    if (!view || !latest) return false;
    const [state, field] = latest;
    const um = view.draw(field, look);
    const left = this.paint.values ? "particles without a value are not drawn" : "";
    this.tell(left, um, this.cells.clientWidth);
    this.name.textContent = this.layout.states[state].name;
    return true;
  }

  /** Pick what was clicked. @param {number} x @param {number} y */
  clicked(x, y) {
    const { view, latest, look } = this;
    if (!view || !latest) return;
    this.picking.pick(view.at(latest[1], look, x, y));
  }
}
