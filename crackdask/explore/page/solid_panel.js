// The picked particle in 3D, over the picture: one state, or all side by side, with what turns it and cuts it open.
// @ts-check

import { made } from "./elements.js";
import { PLANES } from "./plane_geometry.js";
import * as server from "./server.js";
import { SolidView } from "./solid_view.js";
import { SpacePanel } from "./space_panel.js";

/**
 * @param {server.Layout} layout
 * @param {import("./settings.js").Settings} settings
 * @param {(words: string) => void} failed
 */
export const followSolid = (layout, settings, failed) => new SolidPanel(layout, settings, failed);

class SolidPanel extends SpacePanel {
  /**
   * @param {server.Layout} layout
   * @param {import("./settings.js").Settings} settings
   * @param {(words: string) => void} failed
   */
  constructor(layout, settings, failed) {
    super("solid", settings, "the picked particle in 3D", "cut");
    this.layout = layout;
    this.failed = failed;
    this.names = layout.states.map(() => made("span"));
    this.cells.append(...this.names);
    /** @type {SolidView | null} */
    this.view = null;
    /** Those of the particle `held`, by state. @type {import("./solid_view.js").Solid[]} */
    this.solids = [];
    this.held = 0;
    this.asked = 0;
    const surface = this.slider("surface", "surface", "How opaque its surface is", 1, 0.01);
    const cracks = this.slider("dark", "cracks below", "Grey level below which its inside is orange, two voxels and more under its surface; at first halfway between the particle and what is around it", 255, 1);
    this.dark = /** @type {HTMLInputElement} */ (cracks.lastChild);
    this.told = made("output");
    cracks.append(this.told);
    cracks.hidden = true; // until it is known whether they were measured
    this.cracks = cracks;
    const box = made("input", { type: "checkbox", onchange: () => settings.change({ measured: box.checked }) });
    settings.follow(["measured"], () => { box.checked = settings.values.measured; });
    this.measured = made("label", { hidden: true, title: "Cracks (orange) and their skeleton (blue) as `crackdask cracks` measured them" }, box, "measured cracks");
    this.pane.append(this.bar(surface, this.measured, cracks), this.cells);
    settings.follow(["solid", "particle", "state"], () => this.ask());
    settings.follow(["surface", "dark", "measured"], () => this.move());
    settings.follow(["window"], () => this.draw());
  }

  /** States that are shown. @returns {number[]} */
  get shown() {
    const { solid, state } = this.settings.values;
    return solid === "all" ? this.layout.states.map((_, k) => k) : [state];
  }

  async ask() {
    const { solid, particle } = this.settings.values;
    const open = Boolean(particle && (solid === "one" || solid === "all"));
    this.pane.hidden = !open;
    const mine = ++this.asked;
    this.canvas.dataset.shown = "";
    if (!open || this.held !== particle) {
      for (const each of this.solids) this.view?.forget(each);
      this.solids = [];
      this.held = 0;
    }
    if (!open) return;
    try {
      const view = (this.view ??= new SolidView(this.canvas, this.layout.voxel_um));
      if (this.held !== particle) { // all states at once: they are marked by one grey level, and swiped without delay
        this.waits(`reading particle ${particle} …`);
        const told = await Promise.all(this.layout.states.map((_, state) => server.solid(particle, state)));
        if (mine !== this.asked) return;
        const wide = this.layout.volumes.grey === "uint16";
        this.solids = told.map(({ shape, step, data }) => view.solid(shape, step, data, wide));
        this.held = particle;
      }
      this.draw(`${particle} ${this.shown.join()}`);
    } catch (error) {
      if (mine === this.asked) this.failed(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {number} width @param {number} height */
  drawNow(width, height) {
    const { view, solids, shown } = this;
    if (!view || !solids.length) return false;
    const places = placed(shown.length, width, height);
    const { turn, near, window, surface, cut, dark, measured, plane, state } = this.settings.values;
    const first = solids.find((each) => each.there);
    const level = dark >= 0 ? dark : Math.round(first?.halfway ?? 0);
    const most = Math.max(1, ...solids.map((each) => each.levels[1]));
    this.dark.max = String(most);
    this.dark.value = String(level);
    this.told.textContent = String(level);
    const axis = 2 - PLANES[/** @type {keyof typeof PLANES} */ (plane)].cut;
    const um = view.draw(shown.map((k) => solids[k]), places, { turn, near, window, surface, cut, axis, dark: level, measured });
    const known = solids.some((each) => each.measured);
    this.measured.hidden = !known;
    this.cracks.hidden = known && measured;
    const orange = known && measured ? "orange: cracks, blue: their skeleton" : `orange: darker than grey level ${level} inside${known ? "" : "; cracks were not measured (crackdask cracks)"}`;
    this.tell(`particle ${this.held}; ${orange}`, um, this.cells.clientWidth * places[0].width);
    for (const [k, name] of this.names.entries()) {
      const place = places[shown.indexOf(k)];
      name.hidden = !place;
      if (!place) continue;
      name.textContent = `${this.layout.states[k].name}${solids[k] && !solids[k].there ? ": it is absent" : ""}`;
      name.style.left = `${100 * place.left}%`;
      name.style.top = `${100 * place.top}%`;
      name.classList.toggle("now", shown.length > 1 && k === state);
    }
    return true;
  }
}

/**
 * Where so many cells lie, from 0 to 1, so that they are as large as can be.
 * @param {number} count
 * @param {number} width
 * @param {number} height
 */
function placed(count, width, height) {
  const edge = (/** @type {number} */ columns) => Math.min(width / columns, height / Math.ceil(count / columns));
  let columns = 1;
  for (let k = 2; k <= count; k++) if (edge(k) > edge(columns)) columns = k;
  const rows = Math.ceil(count / columns);
  return Array.from({ length: count }, (_, k) => ({
    left: (k % columns) / columns, top: Math.floor(k / columns) / rows, width: 1 / columns, height: 1 / rows,
  }));
}
