// Which particles are chosen: conditions on columns, which hold for picture, table and charts alike.
// @ts-check

import * as server from "./server.js";

export class Choosing extends EventTarget {
  /**
   * @param {import("./volume_view.js").VolumeView} view
   * @param {import("./settings.js").Settings} settings
   * @param {import("./columns.js").Columns} columns
   * @param {(words: string) => void} failed
   */
  constructor(view, settings, columns, failed) {
    super();
    this.settings = settings;
    this.all = columns.catalogue.particles;
    this.count = this.all;
    this.brushed = 0;
    /** 1 of labels that meet the filters, 2 of those that are brushed too; by label */
    this.marks = new Uint8Array(this.all + 1).fill(1, 1);
    this.asked = 0;
    view.mark(this.marks, false);
    settings.follow(["where", "brush"], () => this.choose(view, failed));
  }

  /**
   * @param {import("./volume_view.js").VolumeView} view
   * @param {(words: string) => void} failed
   */
  async choose(view, failed) {
    const mine = ++this.asked;
    const { where, brush } = this.settings.values;
    try {
      const met = await server.chosen(where);
      const both = brush.length ? await server.chosen([...where, ...brush]) : null;
      if (mine !== this.asked) return;
      const marks = met.marks;
      if (both) for (let k = 0; k < marks.length; k++) marks[k] += both.marks[k];
      this.marks = marks;
      this.count = met.count;
      this.brushed = both ? both.count : 0;
      view.mark(marks, both !== null);
      this.dispatchEvent(new Event("change"));
    } catch (error) {
      if (mine === this.asked) failed(error instanceof Error ? error.message : String(error));
    }
  }

  /** Conditions that hold now, the brushed ones too. */
  get conditions() {
    return [...this.settings.values.where, ...this.settings.values.brush];
  }
}
