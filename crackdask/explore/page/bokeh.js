// Charts by BokehJS, which the server hands out; loaded when the first chart is wanted.
// @ts-check

import { csv, made, saved } from "./elements.js";

const SCRIPTS = ["bokeh/bokeh.min.js", "bokeh/bokeh-api.min.js"];
/** @type {Promise<any> | null} */
let loading = null;

/** Return Bokeh, loaded once. */
export function bokeh() {
  loading ??= (async () => {
    for (const src of SCRIPTS) {
      await new Promise((resolve, reject) => {
        document.head.append(made("script", { src, onload: resolve, onerror: () => reject(new Error(`${src} is not there`)) }));
      });
    }
    const found = /** @type {any} */ (window).Bokeh;
    found.set_log_level("error");
    return found;
  })();
  return loading;
}

/** Colours of the page as it looks now. */
export function pageColours() {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  return { ground: colour("ground"), ink: colour("ink"), soft: colour("soft"), line: colour("line"), accent: colour("accent"), picked: colour("picked") };
}

/**
 * @typedef {{title: string, x: string, y: string, height?: number, tools?: string, file: string,
 *   numbers: () => [string[], any[][]]}} Look
 */

/** A chart: a figure of Bokeh, its title, and a button that saves its numbers. */
export class Chart {
  /**
   * @param {any} Bokeh
   * @param {HTMLElement} parent
   * @param {Look} look `numbers` returns heads and rows of what is drawn
   */
  constructor(Bokeh, parent, look) {
    this.Bokeh = Bokeh;
    this.title = made("h2", {}, look.title);
    this.file = look.file;
    const save = made("button", { type: "button", title: "save the numbers of this chart" }, "save CSV");
    save.onclick = () => saved(this.file, csv(...look.numbers()));
    this.head = made("div", { className: "bar chart-head" }, this.title, save);
    this.place = made("div", { className: "chart" });
    this.box = made("figure", {}, this.head, this.place);
    parent.append(this.box);
    this.figure = Bokeh.Plotting.figure({
      height: Math.round((look.height ?? 230) * (window.innerHeight >= 1200 ? 1.45 : 1)), sizing_mode: "stretch_width", tools: look.tools ?? "", toolbar_location: look.tools ? "right" : null,
      x_axis_label: look.x, y_axis_label: look.y, min_border: 4, output_backend: "canvas",
    });
    if (this.figure.toolbar) this.figure.toolbar.logo = null;
    this.painted();
  }

  /** Put it on the page. */
  async show() {
    this.view = await this.Bokeh.Plotting.show(this.figure, this.place);
    return this;
  }

  /** Take the colours of the page, light or dark. */
  painted() {
    const { ground, ink, soft, line } = pageColours();
    const { figure } = this;
    figure.setv({ background_fill_color: ground, border_fill_color: ground, outline_line_color: line });
    for (const axis of [...figure.below, ...figure.left, ...figure.right]) {
      if (!("axis_label_text_color" in axis)) continue;
      axis.setv({
        axis_label_text_color: ink, major_label_text_color: ink, axis_line_color: soft, major_tick_line_color: soft,
        minor_tick_line_color: null, axis_label_text_font_style: "normal", axis_label_text_font_size: "12px",
        major_label_text_font_size: "11px",
      });
    }
    for (const grid of figure.center) if ("grid_line_color" in grid) grid.grid_line_color = line;
  }

  /** A source of numbers, empty. @param {string[]} names */
  source(...names) {
    return new this.Bokeh.ColumnDataSource({ data: Object.fromEntries(names.map((name) => [name, []])) });
  }

  /**
   * Tell the numbers under the mouse.
   * @param {any} renderer whose they are
   * @param {[string, string][]} lines names and fields, as Bokeh has them
   */
  tells(renderer, lines) {
    this.figure.add_tools(new this.Bokeh.HoverTool({ renderers: [renderer], tooltips: lines, line_policy: "nearest" }));
  }

  /** A line across the chart. @param {"width" | "height"} dimension @param {Record<string, any>} look */
  span(dimension, look) {
    const span = new (this.Bokeh.Models.get("Span"))({ dimension, ...look });
    this.figure.add_layout(span);
    return span;
  }

  /**
   * Name the places 0, 1, 2, ... of an axis.
   * @param {any} axis
   * @param {string[]} words
   */
  named(axis, words) {
    const ticks = words.map((_, k) => k);
    axis.ticker = new (this.Bokeh.Models.get("FixedTicker"))({ ticks, minor_ticks: [] });
    axis.major_label_overrides = new Map(words.map((word, k) => [k, word]));
    axis.major_label_orientation = words.join("  ").length > 28 ? 0.6 : "horizontal";
  }
}
