// Charts of all chosen particles: made when they are first seen, drawn anew when what they show changes.
// @ts-check

import { bokeh } from "./bokeh.js";
import { byId, made } from "./elements.js";
import { GroupMeans } from "./group_means.js";
import { Histogram } from "./histogram.js";
import { PathTree } from "./path_tree.js";
import { Scatter } from "./scatter.js";

/**
 * What all charts look at.
 * @typedef {{layout: import("./server.js").Layout, settings: import("./settings.js").Settings,
 *   columns: import("./columns.js").Columns, choosing: import("./choosing.js").Choosing,
 *   picking: import("./picking.js").Picking, failed: (words: string) => void}} Shared
 */

export class ChartsPanel {
  /** @param {Shared} shared */
  constructor(shared) {
    this.shared = shared;
    this.pane = byId("charts");
    this.stale = true;
    this.busy = false;
    /** @type {Promise<void> | null} */
    this.making = null;
    const again = () => {
      this.stale = true;
      this.draw();
    };
    shared.settings.follow(["state", "since", "histogram", "parts", "across", "up"], again);
    shared.choosing.addEventListener("change", again);
    shared.settings.addEventListener("change", (event) => {
      if (/** @type {CustomEvent<Set<string>>} */ (event).detail.has("theme")) this.repaint();
    });
    new ResizeObserver(() => this.draw()).observe(this.pane);
  }

  async make() {
    const Bokeh = await bokeh();
    const [first, second] = [made("div", { className: "pair" }), made("div", { className: "pair" })];
    this.pane.replaceChildren(first, second);
    this.histogram = new Histogram(Bokeh, first, this.shared);
    this.scatter = new Scatter(Bokeh, first, this.shared);
    this.means = new GroupMeans(Bokeh, second, this.shared);
    this.paths = new PathTree(second, this.shared);
    await Promise.all([this.histogram.show(), this.scatter.show(), this.means.show()]);
  }

  /** Draw what is stale, if it is seen; once after the other, or numbers that came late would be drawn over later ones. */
  async draw() {
    if (this.busy) return;
    this.busy = true;
    while (this.stale && this.pane.clientWidth) {
      this.stale = false;
      this.pane.dataset.shown = "";
      try {
        await this.drawNow();
      } catch (error) {
        if (!this.stale) this.shared.failed(error instanceof Error ? error.message : String(error));
      }
    }
    this.busy = false;
  }

  async drawNow() {
    this.making ??= this.make();
    await this.making;
    const { histogram, scatter, means, paths } = this;
    if (!histogram || !scatter || !means || !paths) return;
    await Promise.all([histogram.draw(), scatter.draw(), means.draw(scatter.keys), paths.draw()]);
    const { state, brush } = this.shared.settings.values;
    if (!this.stale) this.pane.dataset.shown = `${state} ${this.shared.choosing.count} ${brush.length}`;
  }

  repaint() {
    for (const chart of [this.histogram, this.scatter, this.means]) chart?.repaint();
  }
}
