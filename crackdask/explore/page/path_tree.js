// The tree of damaged and healed: at each transition the particles part; a branch that is clicked is brushed.
// @ts-check

import { csv, made, saved } from "./elements.js";
import * as server from "./server.js";

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
    /** @type {server.Paths | null} */
    this.told = null;
  }

  async draw() {
    try {
      this.told ??= await server.paths();
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
    const steps = Math.max(...told.level);
    const brushed = this.shared.settings.values.brush.find((/** @type {any[]} */ [key]) => key === KEY);
    this.tree.replaceChildren(...told.before.map((before, step) => {
      const mine = told.branch.map((branch, k) => ({ branch, count: told.count[k], share: told.share[k] })).filter(({ branch }) => branch.length === step + 1);
      const parts = mine.map(({ branch, count, share }) => {
        const low = Number.parseInt(branch.replaceAll("D", "1").replaceAll("H", "0"), 2) * 2 ** (steps - branch.length);
        const high = low + 2 ** (steps - branch.length) - 1;
        const words = `${branch}: ${count} particles, ${(100 * share).toFixed(1)}%`;
        const button = made("button", { type: "button", title: words, "aria-label": words, className: branch.endsWith("D") ? "damaged" : "healed" }, share > 0.03 ? `${branch.at(-1)} ${count}` : "");
        button.style.flexGrow = String(count);
        button.hidden = count === 0;
        button.setAttribute("aria-pressed", String(brushed?.[2] === low && brushed?.[3] === high));
        button.onclick = () => this.shared.settings.change({ brush: [[KEY, 0, low, high]], first: 0 });
        return button;
      });
      return made("div", {}, made("div", { className: "soft" }, `${before} to ${told.after[step]}`), made("div", { className: "branches" }, ...parts));
    }));
    const best = told.branch.map((branch, k) => ({ branch, count: told.count[k] })).filter(({ branch, count }) => branch.length === steps && count);
    best.sort((a, b) => b.count - a.count);
    this.words.textContent = `The ${told.labels.length} largest tracked particles; commonest: ${best.slice(0, 3).map(({ branch, count }) => `${branch} (${count})`).join(", ")}. Click a branch to see its particles.`;
  }

  /** @returns {[string[], any[][]]} */
  numbers() {
    const told = /** @type {server.Paths} */ (this.told);
    return [["branch", "level", "count", "share", "mean_change", "standard_error"],
      told.branch.map((branch, k) => [branch, told.level[k], told.count[k], told.share[k], told.mean_change[k], told.standard_error[k]])];
  }
}
