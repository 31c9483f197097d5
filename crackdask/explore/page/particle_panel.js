// The picked particle: its pictures, its numbers, its damage state by state, its grey level from edge or centre.
// @ts-check

import { bokeh, Chart, pageColours } from "./bokeh.js";
import { ramp, stroke } from "./colour_maps.js";
import { byId, made, radio, titled, unit, valued } from "./elements.js";
import { filmstrip } from "./filmstrip.js";
import * as server from "./server.js";
import { isDark } from "./theme.js";

const FEW = 8; // voxels of a shell below which its mean is too uncertain to be drawn
const SHOWN = [
  "damage.damage", "damage.standard_error", "damage.severity_number", "changes.change", "changes.standard_error", "changes.z", "changes.significant",
  "particles.equivalent_diameter_um", "particles.volume_um3", "particles.sphericity", "particles.grey_mean", "particles.tracked",
  "cracks.crack_volume_partial_um3", "cracks.skeleton_length_um",
];

export class ParticlePanel {
  /**
   * @param {server.Layout} layout
   * @param {import("./settings.js").Settings} settings
   * @param {import("./columns.js").Columns} columns
   * @param {import("./picking.js").Picking} picking
   * @param {(words: string) => void} failed
   */
  constructor(layout, settings, columns, picking, failed) {
    this.layout = layout;
    this.settings = settings;
    this.columns = columns;
    this.picking = picking;
    this.failed = failed;
    this.keys = SHOWN.filter((key) => columns.has(key));
    /** @type {server.Particle | null} */
    this.told = null;
    this.asked = 0;
    /** @type {Promise<void> | null} */
    this.making = null;
    this.pane = byId("particle");
    this.empty = made("p", { className: "soft" }, "No particle is picked: click one in the picture, or a row of the table.");
    this.title = made("h2", { id: "picked" });
    this.full = made("div", { hidden: true });
    this.pane.replaceChildren(this.empty, this.full);
    const find = made("button", { type: "button", title: "Show it in the middle of the picture (key c)", onclick: () => picking.goTo() }, "show in the picture");
    this.numbers = made("table", { className: "numbers" });
    this.reason = made("p", { className: "soft", hidden: true });
    const solid = made("button", { type: "button", id: "open-solid", title: "Show it in space (key v)", onclick: () => settings.change({ solid: "one" }) }, "3D");
    this.full.append(made("div", { className: "bar" }, this.title, find, solid));
    filmstrip(this.full, layout, settings, failed);
    this.charts = made("div", { className: "pair" });
    this.full.append(this.reason, this.charts, this.numbers);
    settings.follow(["particle", "since"], () => this.ask());
    settings.follow(["state"], () => {
      this.fill();
      this.repaint();
    });
    settings.follow(["from"], () => this.fillProfile());
    settings.addEventListener("change", (event) => {
      if (/** @type {CustomEvent<Set<string>>} */ (event).detail.has("theme")) this.repaint();
    });
  }

  async ask() {
    const label = this.settings.values.particle;
    const mine = ++this.asked;
    this.full.hidden = !label;
    this.empty.hidden = Boolean(label);
    this.pane.dataset.shown = "";
    if (!label) return;
    this.title.textContent = `particle ${label}`;
    try {
      const [told] = await Promise.all([this.columns.particle(label, this.columns.atHand(this.keys)), this.ready()]);
      if (mine !== this.asked) return;
      this.told = told;
      if (this.damage) this.damage.file = `particle_${label}_damage.csv`;
      this.fill();
      this.fillProfile();
      if (this.columns.ready) this.pane.dataset.shown = String(label);
      this.picking.take(told);
    } catch (error) {
      if (mine === this.asked) {
        this.full.hidden = true;
        this.failed(error instanceof Error ? error.message : String(error));
      }
    }
  }

  /** Make the charts, once. */
  ready() {
    this.making ??= this.make();
    return this.making;
  }

  async make() {
    const Bokeh = await bokeh();
    const names = this.layout.states.map(({ name }) => name);
    const has = this.columns.has("damage.damage");
    const { units } = has ? this.columns.get("damage.damage") : { units: "1" };
    this.damage = new Chart(Bokeh, this.charts, {
      title: "Damage, ± 2 SE", x: "", y: unit(units) ? `damage (${unit(units)})` : "damage", file: "particle_damage.csv",
      numbers: () => this.damageNumbers(),
    });
    this.profile = new Chart(Bokeh, this.charts, {
      title: "Grey by depth", x: "depth (µm)", y: "mean grey level", file: "particle_profile.csv", numbers: () => this.profileNumbers(),
    });
    this.makeDamage(Bokeh, names);
    this.makeProfile(names);
    const group = made("span", { className: "choice", role: "radiogroup", "aria-label": "where profiles begin" });
    const show = radio(group, [{ value: "edge", words: "edge" }, { value: "centre", words: "centre" }], (from) => this.settings.change({ from }));
    this.settings.follow(["from"], () => show(this.settings.values.from));
    this.profile.head.insertBefore(group, this.profile.head.lastChild);
    const [low, high] = this.columns.catalogue.class_limits;
    this.damage.box.append(made("p", { className: "soft" }, `dotted: voltage; dashed: classes of damage begin, moderate at ${low}, high at ${high}; a click shows that state`));
    this.key = made("p", { className: "key" }, ...names.map((name) => made("span", {}, name)));
    this.profile.box.append(this.key, made("p", { className: "soft" }, `thick: the state that is shown; dashed: on discharge; shells of fewer than ${FEW} voxels are not drawn`));
    this.repaint();
    await Promise.all([this.damage.show(), this.profile.show()]);
  }

  /** @param {any} Bokeh @param {string[]} names */
  makeDamage(Bokeh, names) {
    const chart = /** @type {Chart} */ (this.damage);
    const { figure } = chart;
    this.bars = chart.source("state", "damage", "low", "high");
    const voltages = chart.source("state", "voltage");
    voltages.data = { state: names.map((_, k) => k), voltage: this.layout.states.map(({ voltage }) => voltage) };
    const around = this.layout.states.map(({ voltage }) => voltage);
    const [least, most] = [Math.min(...around), Math.max(...around)];
    figure.extra_y_ranges = { voltage: new Bokeh.Range1d({ start: least - 0.1, end: most + 0.1 }) };
    const axis = new Bokeh.LinearAxis({ y_range_name: "voltage", axis_label: "voltage (V)" });
    figure.add_layout(axis, "right");
    this.voltage = figure.line({ field: "state" }, { field: "voltage" }, { source: voltages, line_width: 1.5, line_dash: [2, 3], y_range_name: "voltage" });
    this.stem = figure.segment({ field: "state" }, { field: "low" }, { field: "state" }, { field: "high" }, { source: this.bars, line_width: 2 });
    this.curve = figure.line({ field: "state" }, { field: "damage" }, { source: this.bars, line_width: 1.5 });
    this.dots = figure.scatter({ field: "state" }, { field: "damage" }, { source: this.bars, size: 8 });
    this.limits = this.columns.catalogue.class_limits.map((location) => chart.span("width", { location, line_dash: [5, 4], line_width: 1 }));
    this.now = chart.span("height", { location: 0, line_width: 14, line_alpha: 0.18 });
    chart.tells(this.dots, [["damage", "@damage{0.0000}"], ["from", "@low{0.0000}"], ["to", "@high{0.0000}"]]);
    figure.y_range.renderers = [this.stem];
    figure.x_range.setv({ start: -0.5, end: names.length - 0.5 });
    chart.named(figure.xaxis, names);
    figure.on_event("tap", (/** @type {any} */ { x }) => {
      this.settings.change({ state: Math.min(names.length - 1, Math.max(0, Math.round(x))) });
    });
  }

  /** @param {string[]} names */
  makeProfile(names) {
    const chart = /** @type {Chart} */ (this.profile);
    this.lines = names.map(() => chart.source("depth", "grey"));
    this.glyphs = names.map((_, k) =>
      chart.figure.line({ field: "depth" }, { field: "grey" }, { source: this.lines?.[k], line_width: 2 }),
    );
    for (const [k, name] of names.entries()) chart.tells(this.glyphs[k], [["state", name], ["µm", "@depth{0.00}"], ["grey", "@grey{0.0}"]]);
  }

  repaint() {
    if (!this.damage || !this.profile) return;
    const { accent, soft, picked } = pageColours();
    for (const glyph of [this.stem, this.curve]) glyph.glyph.line_color = accent;
    this.dots.glyph.setv({ fill_color: accent, line_color: accent });
    this.voltage.glyph.line_color = soft;
    for (const span of this.limits ?? []) span.line_color = soft;
    this.now.line_color = picked;
    const all = ramp(this.layout.states.length, isDark(this.settings));
    for (const [k, glyph] of (this.glyphs ?? []).entries()) {
      glyph.glyph.setv({ line_color: all[k], ...stroke(this.layout.states[k], k === this.settings.values.state) });
    }
    for (const [k, name] of this.pane.querySelectorAll(".film span").entries()) /** @type {HTMLElement} */ (name).style.borderColor = all[k];
    for (const [k, colour] of all.entries()) this.key.children[k].style.borderColor = colour;
    this.damage.painted();
    this.profile.painted();
  }

  fill() {
    const { told } = this;
    if (!told) return;
    const { state } = this.settings.values;
    this.reason.hidden = !told.reason;
    this.reason.textContent = told.reason ?? "";
    if (this.now) this.now.location = state;
    const absent = told.boxes[state] === null;
    const before = this.layout.states[this.columns.since(state)]?.name;
    this.numbers.replaceChildren(
      made("caption", {}, `in ${this.layout.states[state].name}${absent ? ": it is absent" : before ? `; change since ${before}` : ""}`),
      ...this.keys.filter((key) => told.columns[key]).map((key) => {
        const column = this.columns.get(key);
        return made("tr", { title: column.long_name }, made("th", { scope: "row" }, titled(column)), made("td", {}, valued(key, told.columns[key][state])));
      }),
    );
    const damage = told.columns["damage.damage"];
    if (!this.bars || !this.damage || !damage) return;
    this.damage.title.textContent = damage.some((value) => value !== null) ? "Damage, ± 2 SE" : `Damage: not known, it is not tracked: ${told.dropped.join(", ")}`;
    const error = told.columns["damage.standard_error"] ?? [];
    const there = damage.map((_, k) => k).filter((k) => damage[k] !== null);
    const at = (/** @type {number} */ k, /** @type {number} */ times) => /** @type {number} */ (damage[k]) + times * (error[k] ?? 0);
    this.bars.data = {
      state: there, damage: there.map((k) => damage[k]), low: there.map((k) => at(k, -2)), high: there.map((k) => at(k, 2)),
    };
  }

  fillProfile() {
    const { told, lines, profile } = this;
    if (!told || !lines || !profile) return;
    for (const [k, line] of lines.entries()) {
      const shells = this.shellsOf(k).filter(({ voxels }) => voxels >= FEW);
      line.data = { depth: shells.map(({ um }) => um), grey: shells.map(({ grey }) => grey) };
    }
    const { from, particle } = this.settings.values;
    profile.file = `particle_${particle}_profile_from_${from}.csv`;
    profile.figure.xaxis.axis_label = from === "edge" ? "depth below the edge (µm)" : "distance from the centre (µm)";
  }

  /** The shells of a state: their middles, from the edge, or from a centre that is the same in all states. @param {number} state */
  shellsOf(state) {
    const { profile, shell_voxels: voxels } = /** @type {server.Particle} */ (this.told);
    const step = Math.min(...this.layout.voxel_um);
    const deepest = profile[state].length;
    return profile[state].map((grey, k) => ({
      shell: k + 1, grey, voxels: voxels[state][k],
      um: Number(((this.settings.values.from === "edge" ? k + 0.5 : deepest - k - 0.5) * step).toPrecision(6)),
    })).filter(({ grey }) => grey !== null);
  }

  /** @returns {[string[], any[][]]} */
  damageNumbers() {
    const told = /** @type {server.Particle} */ (this.told);
    const keys = this.keys.filter((key) => told.columns[key]);
    return [["particle", "state", "voltage", ...keys], this.layout.states.map(({ name, voltage }, k) => [told.label, name, voltage, ...keys.map((key) => told.columns[key][k])])];
  }

  /** @returns {[string[], any[][]]} */
  profileNumbers() {
    const told = /** @type {server.Particle} */ (this.told);
    const rows = this.layout.states.flatMap(({ name }, k) => {
      return this.shellsOf(k).map(({ shell, um, grey, voxels }) => [told.label, name, shell, um, grey, voxels]);
    });
    return [["particle", "state", "shell", this.settings.values.from === "edge" ? "depth_um" : "from_centre_um", "mean_grey", "voxels"], rows];
  }
}
