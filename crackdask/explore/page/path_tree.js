// The tree of damaged and healed: at each transition the particles part; a branch that is clicked is brushed.
// @ts-check

import { csv, made, saved } from "./elements.js";
/** @typedef {import("./server.js").Paths} Paths */

const KEY = "paths.path_number";

export class PathTree {
  /**
   * @param {HTMLElement} parent
   * @param {import("./charts_panel.js").Shared} shared
   */
  constructor(parent, shared) {
    this.shared = shared;
    const save = made("button", { type: "button", title: "save the numbers of this chart as paths.csv", disabled: true }, "save CSV");
    save.onclick = () => saved("paths.csv", csv(...this.numbers()));
    this.save = save;
    this.tree = made("div", { className: "tree" });
    this.words = made("p", { className: "soft" });
    parent.append(made("figure", {}, made("div", { className: "bar chart-head" }, made("h2", {}, "Paths: damaged (D) or healed (H)"), save), this.tree, this.words));
    /** @type {Paths | null} */
    this.told = null;
    /** @type {Map<string, number> | null} */
    this.chosen = null;
  }

  async draw() {
    const { columns, settings, choosing } = this.shared;
    try {
      this.told ??= await columns.paths();
    } catch (error) {
      this.words.textContent = error instanceof Error ? error.message : String(error);
      return;
    }
    const { told } = this;
    if (told.reason) {
      this.words.textContent = told.reason;
      return;
    }
    this.save.disabled = false;
    this.chosen = counted(told, choosing.marks);
    const { chosen } = this;
    const brushed = settings.values.brush.find((/** @type {any[]} */ [key]) => key === KEY);
    this.tree.replaceChildren(...told.before.map((before, step) => {
      const mine = told.branch.filter((branch) => branch.length === step + 1);
      const all = chosen.get("") ?? 0;
      const healed = mine.filter((branch) => branch.endsWith("H")).reduce((sum, branch) => sum + (chosen.get(branch) ?? 0), 0);
      const words = `${before} to ${told.after[step]}: ${healed} of ${all} healed${all ? ` (${Math.round((100 * healed) / all)}%)` : ""}`;
      return made("div", {}, made("div", { className: "soft" }, words), made("div", { className: "branches" }, ...mine.map((branch) => this.branch(branch, all, brushed))));
    }));
    const steps = told.before.length;
    const best = told.branch.filter((branch) => branch.length === steps && chosen.get(branch));
    best.sort((a, b) => (chosen.get(b) ?? 0) - (chosen.get(a) ?? 0));
    const met = (chosen.get("") ?? 0) < told.labels.length ? `; ${chosen.get("") ?? 0} of these meet the filters` : "";
    this.words.textContent = `The larger ${Math.round(100 * columns.catalogue.largest)}% of the tracked particles, ${told.labels.length}${met}. H: damage fell or stayed, noise included. ` +
      `Commonest: ${best.slice(0, 3).map((branch) => `${branch} (${chosen.get(branch)})`).join(", ")}. Click a branch to see its particles.`;
  }

  /**
   * @param {string} branch
   * @param {number} all
   * @param {any[] | undefined} brushed
   */
  branch(branch, all, brushed) {
    const { before } = /** @type {Paths} */ (this.told);
    const count = this.chosen?.get(branch) ?? 0;
    const rest = 2 ** (before.length - branch.length);
    const low = Number.parseInt(branch.replaceAll("D", "1").replaceAll("H", "0"), 2) * rest;
    const words = `${branch}: ${count} particles, ${((100 * count) / Math.max(1, all)).toFixed(1)}%`;
    const button = made("button", { type: "button", title: words, "aria-label": words, className: branch.endsWith("D") ? "damaged" : "healed" }, count > 0.03 * all ? `${branch.at(-1)} ${count}` : "");
    button.style.flexGrow = String(count);
    button.hidden = count === 0;
    button.setAttribute("aria-pressed", String(brushed?.[2] === low && brushed?.[3] === low + rest - 1));
    button.onclick = () => this.shared.settings.change({ brush: [[KEY, 0, low, low + rest - 1]], first: 0 });
    return button;
  }

  /** @returns {[string[], any[][]]} */
  numbers() {
    const told = /** @type {Paths} */ (this.told);
    return [["branch", "level", "count", "share", "mean_change", "standard_error", "meet_filters"],
      told.branch.map((branch, k) => [branch, told.level[k], told.count[k], told.share[k], told.mean_change[k], told.standard_error[k], this.chosen?.get(branch) ?? 0])];
  }
}

/**
 * How many of the particles that meet the filters are on each branch, and ("") in the tree.
 * @param {Paths} told
 * @param {Uint8Array} marks
 */
function counted({ labels, path }, marks) {
  /** @type {Map<string, number>} */
  const found = new Map();
  for (const [k, label] of labels.entries()) {
    if (!marks[label]) continue;
    for (let length = 0; length <= path[k].length; length++) {
      const branch = path[k].slice(0, length);
      found.set(branch, (found.get(branch) ?? 0) + 1);
    }
  }
  return found;
}
