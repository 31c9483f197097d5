// One column over another, a dot a particle; a box drawn round dots brushes them, a click picks one.
// @ts-check

import { Chart, pageColours } from "./bokeh.js";
import { made, titled } from "./elements.js";
import { sampled } from "./numbers.js";

const MOST = 20000; // dots; of more particles some are drawn, evenly over all

export class Scatter extends Chart {
  /**
   * @param {any} Bokeh
   * @param {HTMLElement} parent
   * @param {import("./charts_panel.js").Shared} shared
   */
  constructor(Bokeh, parent, shared) {
    super(Bokeh, parent, {
      title: "", x: "", y: "", file: "scatter.csv", tools: "box_select,pan,wheel_zoom,reset", height: 280, numbers: () => this.numbers(),
    });
    this.shared = shared;
    this.x = this.y = new Float32Array();
    /** @type {number[]} */
    this.labels = [];
    const { settings, columns } = shared;
    const [up, across] = ["up", "across"].map((name) => {
      const select = made("select", { "aria-label": `column drawn ${name}` }, ...columns.options());
      select.onchange = () => settings.change({ [name]: select.value });
      return select;
    });
    this.title.replaceChildren(up, " over ", across);
    this.words = made("p", { className: "soft" });
    this.box.append(this.words);
    this.dots = this.figure.scatter({ field: "x" }, { field: "y" }, { source: this.source("x", "y"), size: 4, line_color: null });
    this.drawn = this.figure.scatter({ field: "x" }, { field: "y" }, { source: this.source("x", "y"), size: 4, line_color: null });
    this.ring = this.figure.scatter({ field: "x" }, { field: "y" }, { source: this.source("x", "y"), size: 12, fill_color: null, line_width: 2 });
    for (const glyph of [this.dots, this.drawn, this.ring]) glyph.nonselection_glyph = glyph.selection_glyph = null;
    this.figure.x_range.renderers = this.figure.y_range.renderers = [this.dots, this.drawn]; // no boxes, no ring
    const { toolbar } = this.figure;
    toolbar.active_drag = toolbar.tools.find((/** @type {any} */ tool) => tool.type === "BoxSelectTool");
    this.figure.on_event("selectiongeometry", (/** @type {any} */ { geometry: { x0, x1, y0, y1 } }) => {
      const { state } = settings.values;
      settings.change({ brush: [[columns.now(this.keys.across), state, x0, x1], [columns.now(this.keys.up), state, y0, y1]], first: 0 });
    });
    this.figure.on_event("tap", (/** @type {any} */ { x, y }) => this.pick(x, y));
    settings.follow(["across", "up"], () => {
      up.value = this.keys.up;
      across.value = this.keys.across;
    });
    settings.follow(["particle"], () => this.mark());
  }

  get keys() {
    const { settings, columns } = this.shared;
    const one = (/** @type {string} */ key, /** @type {string[]} */ ...others) => (columns.has(key) ? key : columns.first(...others));
    return {
      across: one(settings.values.across, "particles.equivalent_diameter_um"),
      up: one(settings.values.up, "damage.damage", "particles.grey_mean"),
    };
  }

  async draw() {
    const { settings, columns, choosing } = this.shared;
    const { across, up } = this.keys;
    const [x, y] = await Promise.all([across, up].map((key) => columns.values(key, settings.values.state)));
    const { marks } = choosing;
    const { labels, count } = sampled(marks, MOST, (label) => Number.isFinite(x[label]) && Number.isFinite(y[label]));
    Object.assign(this, { x, y, labels });
    const part = (/** @type {number} */ least, /** @type {number} */ most) => {
      const mine = labels.filter((label) => marks[label] >= least && marks[label] <= most);
      return { x: mine.map((label) => x[label]), y: mine.map((label) => y[label]) };
    };
    for (const { data_source } of [this.dots, this.drawn]) data_source.selected.indices = []; // or they keep its looks
    this.dots.data_source.data = part(1, 1);
    this.drawn.data_source.data = part(2, 2);
    const where = `in ${this.shared.layout.states[settings.values.state].name}: `;
    this.words.textContent = where + (labels.length < count ? `${labels.length} of ${count} particles are drawn; a box takes all of them` : `${count} particles`);
    this.figure.xaxis.axis_label = titled(columns.get(across));
    this.figure.yaxis.axis_label = titled(columns.get(up));
    this.mark();
    this.repaint();
  }

  /** Ring the picked particle. */
  mark() {
    const label = this.shared.settings.values.particle;
    const there = label && Number.isFinite(this.x[label]) && Number.isFinite(this.y[label]);
    this.ring.data_source.data = there ? { x: [this.x[label]], y: [this.y[label]] } : { x: [], y: [] };
  }

  /** Pick the nearest dot. @param {number} x @param {number} y */
  pick(x, y) {
    const { x_range, y_range } = this.figure;
    let [nearest, least] = [0, 0.0006];
    for (const label of this.labels) {
      const far = ((this.x[label] - x) / (x_range.end - x_range.start)) ** 2 + ((this.y[label] - y) / (y_range.end - y_range.start)) ** 2;
      if (far < least) [nearest, least] = [label, far];
    }
    if (nearest) this.shared.picking.pick(nearest);
  }

  repaint() {
    const { accent, picked, ink } = pageColours();
    this.painted();
    this.dots.glyph.setv({ fill_color: accent, fill_alpha: 0.5 });
    this.drawn.glyph.setv({ fill_color: picked, fill_alpha: 0.8 });
    this.ring.glyph.line_color = ink;
  }

  /** @returns {[string[], any[][]]} */
  numbers() {
    const { across, up } = this.keys;
    const { marks } = this.shared.choosing;
    return [["particle", across, up, "marked"], this.labels.map((label) => [label, this.x[label], this.y[label], Number(marks[label] > 1)])];
  }
}
