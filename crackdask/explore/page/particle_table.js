// The table of particles: sorted and filtered by the server, a page at a time; a row is picked by a click.
// @ts-check

import { byId, made, titled, valued } from "./elements.js";
import * as server from "./server.js";

const USUAL = [
  "damage.damage", "damage.standard_error", "damage.severity_number", "changes.change", "changes.significant",
  "particles.equivalent_diameter_um", "particles.grey_mean", "particles.tracked",
];
const PAGE = 50;

/**
 * Columns that the table shows.
 * @param {import("./settings.js").Settings} settings
 * @param {import("./columns.js").Columns} columns
 * @returns {string[]}
 */
export function shownColumns(settings, columns) {
  const { shown } = settings.values;
  return (shown ? shown.split(",") : USUAL).filter((/** @type {string} */ key) => columns.has(key));
}

export class ParticleTable {
  /**
   * @param {server.Layout} layout
   * @param {import("./settings.js").Settings} settings
   * @param {import("./columns.js").Columns} columns
   * @param {import("./choosing.js").Choosing} choosing
   * @param {import("./picking.js").Picking} picking
   * @param {(words: string) => void} failed
   */
  constructor({ states }, settings, columns, choosing, picking, failed) {
    this.states = states;
    this.settings = settings;
    this.columns = columns;
    this.choosing = choosing;
    this.picking = picking;
    this.failed = failed;
    this.asked = 0;
    /** @type {server.Rows} */
    this.held = { count: 0, first: 0, labels: [], columns: {} };
    this.head = made("tr");
    this.body = made("tbody");
    this.told = made("output", { id: "rows" });
    this.words = made("p", { className: "soft" });
    const turn = (/** @type {string} */ words, /** @type {string} */ title, /** @type {number} */ pages) =>
      made("button", { type: "button", title, onclick: () => this.turn(pages) }, words);
    this.back = turn("‹", "page before", -1);
    this.on = turn("›", "next page", 1);
    this.rows = made("div", { className: "rows" }, made("table", {}, made("thead", {}, this.head), this.body));
    const goto = made("input", { type: "number", min: 1, max: columns.catalogue.particles, placeholder: "label", "aria-label": "pick the particle of this label" });
    goto.onchange = () => {
      const label = Number(goto.value);
      if (Number.isInteger(label) && label >= 1 && label <= columns.catalogue.particles) picking.pick(label);
      else failed(`there is no particle ${goto.value}: labels go from 1 to ${columns.catalogue.particles}`);
    };
    byId("table").replaceChildren(
      made("div", { className: "bar" }, this.back, this.told, this.on, made("label", {}, "go to", goto), this.chooser()),
      this.words,
      this.rows,
    );
    settings.follow(["state", "since", "sort", "descending", "first", "shown", "where", "brush"], () => this.ask());
    settings.follow(["state", "since"], () => { this.words.textContent = this.said; });
    settings.follow(["particle"], () => this.follow());
  }

  /** What the numbers are of, for whoever has not read what the columns are. */
  get said() {
    const { state } = this.settings.values;
    const [before, now] = [this.columns.since(state), state].map((k) => this.states[k]?.name);
    const change = before ? `; changes since ${before}, below 0: healed` : "";
    return `In ${now}${change}. –: no value, as damage of particles that are not tracked.`;
  }

  get keys() {
    return shownColumns(this.settings, this.columns);
  }

  /** Ask for the page that begins at `first`, or for the one where a label stands. @param {number} [label] */
  async ask(label) {
    const mine = ++this.asked;
    const { state, sort, descending, first } = this.settings.values;
    const keys = this.columns.atHand(this.keys);
    const words = { state, sort, descending: Number(descending), first, count: PAGE, columns: keys, where: this.choosing.conditions };
    try {
      const rows = await this.columns.rows(label ? { ...words, label } : words);
      if (mine !== this.asked) return;
      const begins = this.held.count !== rows.count || this.held.labels[0] !== rows.labels[0];
      this.held = rows;
      this.settings.values.first = rows.first;
      this.fill(keys, begins && !label);
    } catch (error) {
      if (mine === this.asked) this.failed(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {string[]} keys @param {boolean} begins whether they are other rows than before, to be seen from the first */
  fill(keys, begins) {
    const { count, first, labels, columns } = this.held;
    const { sort, descending } = this.settings.values;
    this.head.replaceChildren(...["label", ...keys].map((key) => {
      const arrow = key === sort ? (descending ? " ▼" : " ▲") : "";
      const column = this.columns.get(key);
      const button = made("button", { type: "button", title: column?.long_name ?? "label of the particle", onclick: () => this.sort(key) }, (column ? titled(column) : "label") + arrow);
      return made("th", { scope: "col", "aria-sort": key === sort ? (descending ? "descending" : "ascending") : "none" }, button);
    }));
    this.body.replaceChildren(...labels.map((label, k) =>
      made("tr", { "data-label": String(label), onclick: () => this.picking.pick(label) },
        made("td", {}, String(label)), ...keys.map((key) => made("td", {}, valued(key, columns[key][k]))))));
    this.told.textContent = count ? `${first + 1} to ${first + labels.length} of ${count}` : "no particle meets the filters";
    this.back.disabled = first === 0;
    this.on.disabled = first + labels.length >= count;
    if (this.columns.ready) byId("table").dataset.shown = `${this.settings.values.state} ${sort} ${Number(descending)} ${first} ${count}`;
    this.mark();
    if (begins) this.rows.scrollTop = 0;
  }

  /** @param {string} key */
  sort(key) {
    const { sort, descending } = this.settings.values;
    this.settings.change({ sort: key, descending: key === sort ? !descending : key !== "label", first: 0 });
  }

  /** @param {number} pages */
  turn(pages) {
    const first = Math.max(0, this.held.first + pages * PAGE);
    if (first < this.held.count) this.settings.change({ first });
  }

  /** Show the picked particle's row. */
  async follow() {
    const { particle } = this.settings.values;
    if (particle && !this.held.labels.includes(particle)) await this.ask(particle);
    this.mark();
  }

  mark() {
    const picked = String(this.settings.values.particle);
    for (const row of this.body.children) {
      const mine = /** @type {HTMLElement} */ (row).dataset.label === picked;
      row.setAttribute("aria-selected", String(mine));
      if (mine) row.scrollIntoView({ block: "nearest" });
    }
  }

  /** Pick the particle before or after, in the order of the table. @param {number} step */
  async step(step) {
    const { labels, first, count } = this.held;
    const at = labels.indexOf(this.settings.values.particle);
    const next = at < 0 ? 0 : at + step;
    if (next >= 0 && next < labels.length) {
      this.picking.pick(labels[next]);
    } else if (first + next >= 0 && first + next < count) {
      this.settings.values.first = Math.max(0, first + step * PAGE);
      await this.ask();
      this.picking.pick(/** @type {number} */ (this.held.labels.at(step > 0 ? 0 : -1)));
    }
  }

  /** What chooses the columns that are shown. */
  chooser() {
    const list = made("div");
    const details = made("details", { className: "columns" }, made("summary", {}, "columns"), list);
    details.ontoggle = () => {
      if (!details.open) return;
      const now = new Set(this.keys);
      list.replaceChildren(...[...this.columns.known.values()].map((column) => {
        const box = made("input", { type: "checkbox", checked: now.has(column.key) });
        box.onchange = () => {
          if (box.checked) now.add(column.key);
          else now.delete(column.key);
          this.settings.change({ shown: [...now].join() });
        };
        return made("label", { title: column.long_name }, box, ` ${titled(column)}`);
      }));
    };
    document.addEventListener("pointerdown", ({ target }) => {
      if (!details.contains(/** @type {Node} */ (target))) details.open = false;
    });
    details.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape" || !details.open) return;
      event.stopPropagation();
      details.open = false;
    });
    return details;
  }
}
