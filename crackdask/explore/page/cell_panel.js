// The cell beside its particles: voltage and charge over time with the states marked, the picked particle's damage along it.
// @ts-check

import { bokeh, Chart, pageColours } from "./bokeh.js";
import { DOWN, ramp } from "./colour_maps.js";
import { byId, made, radio, unit } from "./elements.js";
import * as server from "./server.js";
import { isDark } from "./theme.js";

const ALONG = [{ value: "time", words: "over time" }, { value: "charge", words: "over charge" }];
const DAMAGE = ["damage.damage", "damage.standard_error"];
const BORDER = 62; // pixels, in which an axis and its numbers have room
const NAMES = { angle: 0.6, far: 7 }; // of states: slope, and pixels from their marks
const NEAR = 0.03; // part of the axis within which a click means a state

export class CellPanel {
  /** @param {{layout: server.Layout, settings: import("./settings.js").Settings, columns: import("./columns.js").Columns, failed: (words: string) => void}} shared */
  constructor({ layout, settings, columns, failed }) {
    this.layout = layout;
    this.settings = settings;
    this.failed = failed;
    this.keys = DAMAGE.filter((key) => columns.has(key));
    this.units = this.keys.length ? unit(columns.get(DAMAGE[0]).units) : "";
    this.pane = byId("cell");
    /** @type {server.Cell | null} */
    this.told = null;
    /** @type {server.Particle | null} */
    this.particle = null;
    this.asked = 0;
    /** @type {Promise<void> | null} */
    this.making = null;
    const again = () => this.draw();
    settings.follow(["along", "state", "particle"], again);
    settings.addEventListener("change", (event) => {
      if (/** @type {CustomEvent<Set<string>>} */ (event).detail.has("theme")) this.repaint();
    });
    new ResizeObserver(again).observe(this.pane);
  }

  async make() {
    const [Bokeh, told] = await Promise.all([bokeh(), server.cell()]);
    this.told = told;
    this.record = new Chart(Bokeh, this.pane, {
      title: "The cell", x: "", y: "voltage (V)", file: "cell.csv", height: 230, numbers: () => this.recordNumbers(),
    });
    this.damage = new Chart(Bokeh, this.pane, {
      title: "Damage, ± 2 SE", x: "", y: this.units ? `damage (${this.units})` : "damage", file: "damage_of_cell.csv", height: 170,
      numbers: () => this.damageNumbers(),
    });
    for (const chart of [this.record, this.damage]) chart.figure.x_range = new Bokeh.Range1d({ start: 0, end: 1 });
    this.makeRecord(Bokeh);
    this.makeDamage();
    const group = made("span", { className: "choice", role: "radiogroup", "aria-label": "what the record is drawn along" });
    const show = radio(group, ALONG, (along) => this.settings.change({ along }));
    this.settings.follow(["along"], () => show(this.settings.values.along));
    this.record.head.insertBefore(group, this.record.head.lastChild);
    this.caption = made("p", { className: "soft" });
    this.record.box.append(this.caption);
    const apart = told.states.map(({ begin }, k) => ({ begin, name: this.layout.states[k].name, reason: told.states[k].reason })).filter(({ begin }) => begin === null);
    this.pane.append(...apart.map(({ name, reason }) => made("p", { className: "soft" }, `${name} is linked to no moment of the record: ${reason}`)));
    this.repaint();
    await Promise.all([this.record.show(), this.damage.show()]);
  }

  /** @param {any} Bokeh */
  makeRecord(Bokeh) {
    const chart = /** @type {Chart} */ (this.record);
    const { figure } = chart;
    const { charge, unit: ofCharge, states } = /** @type {server.Cell} */ (this.told);
    figure.extra_y_ranges = { charge: new Bokeh.Range1d(extremes(charge)) };
    this.chargeAxis = new Bokeh.LinearAxis({ y_range_name: "charge", axis_label: `charge (${ofCharge})` });
    figure.add_layout(this.chargeAxis, "right");
    this.curve = chart.source("x", "voltage", "charge");
    this.charges = figure.line({ field: "x" }, { field: "charge" }, { source: this.curve, line_width: 1.2, line_dash: [5, 3], y_range_name: "charge" });
    this.voltages = figure.line({ field: "x" }, { field: "voltage" }, { source: this.curve, line_width: 1.8 });
    this.bars = states.map(() => {
      const bar = new Bokeh.BoxAnnotation({ left: 0, right: 0, fill_alpha: 0.2, line_color: null });
      figure.add_layout(bar);
      return bar;
    });
    this.marks = chart.source("x", "voltage", "name", "ink", "face", "angle", "below");
    this.dots = figure.scatter({ field: "x" }, { field: "voltage" }, {
      source: this.marks, size: 10, line_width: 2, line_color: { field: "ink" }, fill_color: { field: "face" },
    });
    this.names = figure.text({ field: "x" }, { field: "voltage" }, { field: "name" }, {
      source: this.marks, text_font_size: "11px", angle: { field: "angle" }, x_offset: 6, y_offset: { field: "below" },
    });
    this.ring = figure.scatter({ field: "x" }, { field: "voltage" }, { source: chart.source("x", "voltage"), size: 18, fill_color: null, line_width: 2.5 });
    figure.y_range.renderers = [this.voltages, this.dots];
    figure.y_range.range_padding = 0.8; // names stand above, or below
    figure.on_event("tap", (/** @type {any} */ { x }) => this.pick(x));
  }

  makeDamage() {
    const chart = /** @type {Chart} */ (this.damage);
    const { figure } = chart;
    this.values = chart.source("x", "damage", "low", "high", "ink", "face");
    this.way = figure.line({ field: "x" }, { field: "damage" }, { source: this.values, line_width: 1 });
    this.stems = figure.segment({ field: "x" }, { field: "low" }, { field: "x" }, { field: "high" }, { source: this.values, line_width: 1.5 });
    figure.scatter({ field: "x" }, { field: "damage" }, {
      source: this.values, size: 9, line_width: 2, line_color: { field: "ink" }, fill_color: { field: "face" },
    });
    this.here = figure.scatter({ field: "x" }, { field: "damage" }, { source: chart.source("x", "damage"), size: 18, fill_color: null, line_width: 2.5 });
    figure.y_range.renderers = [this.stems];
    figure.on_event("tap", (/** @type {any} */ { x }) => this.pick(x));
  }

  /** Where the states lie along the horizontal axis; null where they lie nowhere. */
  get places() {
    const over = this.settings.values.along === "charge";
    return /** @type {server.Cell} */ (this.told).states.map(({ begin, end, charge }) =>
      over ? charge : begin === null || end === null ? null : (begin + end) / 2);
  }

  /** Draw, if it is seen. */
  async draw() {
    if (!this.pane.clientWidth) return;
    const mine = ++this.asked;
    const { along, state, particle } = this.settings.values;
    this.pane.dataset.shown = "";
    try {
      this.making ??= this.make();
      const [told] = await Promise.all([particle && this.keys.length ? server.particle(particle, this.keys) : null, this.making]);
      if (mine !== this.asked) return;
      this.particle = told;
      this.fill();
      this.pane.dataset.shown = `${along} ${state} ${particle}`;
    } catch (error) {
      if (mine === this.asked) this.failed(error instanceof Error ? error.message : String(error));
    }
  }

  fill() {
    const { told, record, damage, curve, marks, places, layout } = this;
    if (!told || !record || !damage || !curve || !marks) return;
    const { along, state, particle } = this.settings.values;
    const time = along !== "charge";
    curve.data = { x: time ? told.hours : told.charge, voltage: told.voltage, charge: told.charge };
    this.charges.visible = this.chargeAxis.visible = time;
    const since = told.start ? `time since ${told.start} (h)` : "time (h)";
    const words = time ? since : `charge (${told.unit})`;
    if (this.caption) this.caption.textContent = `${time ? "solid: voltage; dashed: charge; grey: scans" : "voltage over charge"}; hollow: on discharge; a click shows that state`;
    for (const chart of [record, damage]) chart.figure.xaxis.axis_label = words;
    const { start, end } = extremes(curve.data.x);
    // The same for both; beside the last state is room for its name.
    for (const { figure } of [record, damage]) {
      figure.x_range.setv({ start, end: end + 0.06 * (end - start) });
      figure.setv({ min_border_left: BORDER, min_border_right: time ? BORDER : 4 }); // one time stands above the other
    }
    const there = places.map((_, k) => k).filter((k) => places[k] !== null && told.states[k].voltage !== null);
    const looks = this.looks();
    marks.data = {
      x: there.map((k) => places[k]), voltage: there.map((k) => told.states[k].voltage), name: there.map((k) => layout.states[k].name),
      ink: there.map((k) => looks[k].ink), face: there.map((k) => looks[k].face),
      // Names of charge lead upwards and those of discharge downwards, as states of both lie close together.
      angle: there.map((k) => (looks[k].down ? -NAMES.angle : NAMES.angle)), below: there.map((k) => (looks[k].down ? NAMES.far : -NAMES.far)),
    };
    for (const [k, bar] of (this.bars ?? []).entries()) {
      const { begin, end } = told.states[k];
      bar.setv({ visible: time && begin !== null, left: begin ?? 0, right: end ?? 0 });
    }
    const now = there.includes(state) ? [state] : [];
    this.ring.data_source.data = { x: now.map((k) => places[k]), voltage: now.map((k) => told.states[k].voltage) };
    this.fillDamage(looks);
    const known = this.particle?.columns[DAMAGE[0]]?.some((value) => value !== null);
    damage.title.textContent = !particle ? "Damage: no particle is picked" : `Damage of particle ${particle}${known ? ", ± 2 SE" : ": not known, it is not tracked"}`;
  }

  /** @param {{ink: string, face: string, down: boolean}[]} looks */
  fillDamage(looks) {
    const { places, particle } = this;
    const values = particle?.columns[DAMAGE[0]] ?? [];
    const errors = particle?.columns[DAMAGE[1]] ?? [];
    const there = places.map((_, k) => k).filter((k) => places[k] !== null && (values[k] ?? null) !== null);
    const at = (/** @type {number} */ k, /** @type {number} */ times) => /** @type {number} */ (values[k]) + times * (errors[k] ?? 0);
    this.values.data = {
      x: there.map((k) => places[k]), damage: there.map((k) => at(k, 0)), low: there.map((k) => at(k, -2)), high: there.map((k) => at(k, 2)),
      ink: there.map((k) => looks[k].ink), face: there.map((k) => looks[k].face),
    };
    const now = there.filter((k) => k === this.settings.values.state);
    this.here.data_source.data = { x: now.map((k) => places[k]), damage: now.map((k) => at(k, 0)) };
  }

  /** Colours of the states, hollow on discharge, as in the report. */
  looks() {
    const all = ramp(this.layout.states.length, isDark(this.settings));
    const { ground } = pageColours();
    return this.layout.states.map(({ step }, k) => {
      const down = DOWN.includes(step);
      return { ink: all[k], face: down ? ground : all[k], down };
    });
  }

  /** Show the state nearest to a place of the axis, if it is near. @param {number} x */
  pick(x) {
    const { start, end } = /** @type {Chart} */ (this.record).figure.x_range;
    const far = this.places.map((place) => (place === null ? Infinity : Math.abs(place - x)));
    const nearest = far.indexOf(Math.min(...far));
    if (far[nearest] < NEAR * Math.abs(end - start)) this.settings.change({ state: nearest });
  }

  repaint() {
    if (!this.record || !this.damage) return;
    const { accent, soft, ink, picked } = pageColours();
    this.voltages.glyph.line_color = accent;
    this.charges.glyph.line_color = soft;
    for (const glyph of [this.way, this.stems]) glyph.glyph.line_color = soft;
    for (const glyph of [this.ring, this.here]) glyph.glyph.line_color = picked;
    for (const bar of this.bars ?? []) bar.fill_color = soft;
    this.names.glyph.text_color = ink;
    this.record.painted();
    this.damage.painted();
    this.fill();
  }

  /** @returns {[string[], any[][]]} */
  recordNumbers() {
    const { hours, voltage, charge, current, unit: ofCharge } = /** @type {server.Cell} */ (this.told);
    return [["time_h", "voltage_v", `charge_${ofCharge.replace("/", "_per_")}`, "current_ma"], hours.map((hour, k) => [hour, voltage[k], charge[k], current[k]])];
  }

  /** @returns {[string[], any[][]]} */
  damageNumbers() {
    const { particle, layout, told } = this;
    const heads = ["particle", "state", "scan_begin_h", "scan_end_h", "voltage_v", `charge_${told?.unit.replace("/", "_per_")}`, "damage", "standard_error"];
    const rows = (told?.states ?? []).map(({ begin, end, voltage, charge }, k) =>
      [particle?.label ?? "", layout.states[k].name, begin, end, voltage, charge, ...DAMAGE.map((key) => particle?.columns[key]?.[k] ?? null)]);
    return [heads, particle ? rows : []];
  }
}

/** Where an axis begins and ends that shows some numbers, with room beside them. @param {(number | null)[]} values */
function extremes(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) if (value !== null) [low, high] = [Math.min(low, value), Math.max(high, value)];
  if (low > high) [low, high] = [0, 1];
  const room = 0.05 * (high - low || 1);
  return { start: low - room, end: high + room };
}
