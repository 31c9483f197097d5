// How a column is spread over the chosen particles, with its quartiles or deciles; what is drawn round is brushed.
// @ts-check

import { Chart, pageColours } from "./bokeh.js";
import { made, radio, short, titled } from "./elements.js";
import { borders, counts, quantile, sorted } from "./numbers.js";

const BINS = 48;
const PARTS = [{ value: 4, words: "quartiles" }, { value: 10, words: "deciles" }];

export class Histogram extends Chart {
  /**
   * @param {any} Bokeh
   * @param {HTMLElement} parent
   * @param {import("./charts_panel.js").Shared} shared
   */
  constructor(Bokeh, parent, shared) {
    super(Bokeh, parent, {
      title: "", x: "", y: "particles", file: "histogram.csv", tools: "xbox_select", numbers: () => this.numbers(),
    });
    this.shared = shared;
    const { settings, columns } = shared;
    const select = made("select", { "aria-label": "column of the histogram" }, ...columns.options());
    select.onchange = () => settings.change({ histogram: select.value });
    this.title.replaceChildren("Histogram of ", select);
    const group = made("span", { className: "choice", role: "radiogroup", "aria-label": "equal groups" });
    const show = radio(group, PARTS, (parts) => settings.change({ parts }));
    this.head.insertBefore(group, this.head.lastChild);
    this.words = made("p", { className: "soft quantiles" });
    this.box.append(this.words);
    const look = { source: this.source("left", "right", "top"), line_color: null };
    const sides = [{ field: "left" }, { field: "right" }, { field: "top" }, 0];
    this.all = this.figure.quad(...sides, look);
    this.drawn = this.figure.quad(...sides, { ...look, source: this.source("left", "right", "top") });
    this.marks = Array.from({ length: 9 }, () => this.span("height", { location: 0, line_dash: [4, 3], visible: false }));
    this.figure.y_range.start = 0;
    this.figure.on_event("selectiongeometry", (/** @type {any} */ { geometry }) =>
      settings.change({ brush: [[columns.now(this.key), settings.values.state, geometry.x0, geometry.x1]], first: 0 }),
    );
    settings.follow(["histogram", "parts"], () => {
      select.value = this.key;
      show(settings.values.parts);
    });
  }

  get key() {
    const { settings, columns } = this.shared;
    return columns.has(settings.values.histogram) ? settings.values.histogram : columns.first("damage.damage", "particles.equivalent_diameter_um");
  }

  async draw() {
    const { settings, columns, choosing } = this.shared;
    const { key } = this;
    const values = await columns.values(key, settings.values.state);
    const all = sorted(values, choosing.marks, 1);
    const [low, high] = all.length ? [all[0], all[all.length - 1]] : [0, 1];
    const whole = columns.get(key).whole && high - low < BINS;
    const [from, to, bins] = whole ? [low - 0.5, high + 0.5, high - low + 1] : [low, high > low ? high : low + 1, BINS];
    this.edges = Array.from({ length: bins + 1 }, (_, k) => from + ((to - from) * k) / bins);
    this.counted = [counts(all, from, to, bins), counts(sorted(values, choosing.marks, 2), from, to, bins)];
    for (const [k, glyph] of [this.all, this.drawn].entries()) {
      glyph.data_source.data = { left: this.edges.slice(0, -1), right: this.edges.slice(1), top: this.counted[k] };
    }
    const limits = borders(all, settings.values.parts);
    for (const [k, mark] of this.marks.entries()) mark.setv({ visible: k < limits.length && all.length > 0, location: limits[k] ?? 0 });
    this.words.textContent = all.length
      ? `median ${short(quantile(all, 0.5))}; ${settings.values.parts === 10 ? "deciles" : "quartiles"} ${limits.map((value) => short(value)).join(", ")}; ` +
        `from ${short(low)} to ${short(high)}; ${all.length} of ${choosing.count} particles have a value`
      : "no particle has a value here";
    this.figure.xaxis.axis_label = `${titled(columns.get(key))} in ${this.shared.layout.states[settings.values.state].name}`;
    this.repaint();
  }

  repaint() {
    const { accent, picked, ink } = pageColours();
    this.painted();
    this.all.glyph.fill_color = accent;
    this.drawn.glyph.fill_color = picked;
    for (const mark of this.marks) mark.line_color = ink;
  }

  /** @returns {[string[], any[][]]} */
  numbers() {
    const { edges = [], counted = [[], []] } = this;
    return [[`${this.key}_from`, `${this.key}_to`, "particles", "marked"], counted[0].map((count, k) => [edges[k], edges[k + 1], count, counted[1][k]])];
  }
}
