// Means of a column in equal groups of another, a line a state: do large particles crack more than small ones?
// @ts-check

import { Chart } from "./bokeh.js";
import { ramp, stroke } from "./colour_maps.js";
import { made, titled } from "./elements.js";
import { borders, groupMeans, quantile, sorted } from "./numbers.js";
import { isDark } from "./theme.js";

export class GroupMeans extends Chart {
  /**
   * @param {any} Bokeh
   * @param {HTMLElement} parent
   * @param {import("./charts_panel.js").Shared} shared
   */
  constructor(Bokeh, parent, shared) {
    super(Bokeh, parent, { title: "", x: "", y: "", file: "group_means.csv", height: 260, numbers: () => this.numbers() });
    this.shared = shared;
    const names = shared.layout.states.map(({ name }) => name);
    this.states = names.map(() => {
      const source = this.source("x", "mean", "low", "high");
      return {
        source,
        line: this.figure.line({ field: "x" }, { field: "mean" }, { source, line_width: 2 }),
        bars: this.figure.segment({ field: "x" }, { field: "low" }, { field: "x" }, { field: "high" }, { source, line_width: 1.5 }),
      };
    });
    for (const [k, name] of names.entries()) this.tells(this.states[k].line, [["state", name], ["mean", "@mean{0.0000}"], ["from", "@low{0.0000}"], ["to", "@high{0.0000}"]]);
    this.key = made("p", { className: "key" }, ...names.map((name) => made("span", {}, name)));
    this.box.append(this.key);
    /** @type {any[][]} */
    this.rows = [];
  }

  /** @param {{across: string, up: string}} keys those of the scatter plot */
  async draw({ across, up }) {
    const { settings, layout, columns, choosing } = this.shared;
    const { state, parts } = settings.values;
    const [by, now] = await Promise.all([across, up].map((key) => columns.values(key, state)));
    const both = choosing.marks.map((mark, label) => (Number.isFinite(now[label]) ? mark : 0)); // equal groups of those that are drawn
    const all = sorted(by, both, 1);
    const limits = borders(all, parts);
    const middles = Array.from({ length: parts }, (_, k) => quantile(all, (k + 0.5) / parts));
    this.rows = [];
    for (const [number, { name }] of layout.states.entries()) {
      const means = groupMeans(by, await columns.values(up, number), both, limits);
      const there = means.map((_, k) => k).filter((k) => means[k].count);
      const least = (/** @type {number} */ k) => means[k].error || 0;
      this.states[number].source.data = {
        x: there.map((k) => middles[k]), mean: there.map((k) => means[k].mean),
        low: there.map((k) => means[k].mean - least(k)), high: there.map((k) => means[k].mean + least(k)),
      };
      this.rows.push(...means.map(({ count, mean, error }, k) => [name, k + 1, middles[k], count, mean, error / 2]));
    }
    this.title.textContent = `Means in ${parts === 10 ? "deciles" : "quartiles"} of ${titled(columns.get(across))}, ± 2 SE`;
    this.figure.xaxis.axis_label = `${titled(columns.get(across))} in ${layout.states[state].name}`;
    this.figure.yaxis.axis_label = titled(columns.get(up));
    this.repaint();
  }

  repaint() {
    this.painted();
    const all = ramp(this.states.length, isDark(this.shared.settings));
    const { layout, settings } = this.shared;
    for (const [k, { line, bars }] of this.states.entries()) {
      line.glyph.setv({ line_color: all[k], ...stroke(layout.states[k], k === settings.values.state) });
      bars.glyph.line_color = all[k];
      /** @type {HTMLElement} */ (this.key.children[k]).style.borderColor = all[k];
    }
  }

  /** @returns {[string[], any[][]]} */
  numbers() {
    return [["state", "group", "middle_of_group", "particles", "mean", "standard_error"], this.rows];
  }
}
