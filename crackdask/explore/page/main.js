// Where the page begins: it asks what there is, and joins its parts.
// @ts-check

import { CellPanel } from "./cell_panel.js";
import { ChartsPanel } from "./charts_panel.js";
import { Choosing } from "./choosing.js";
import { followColouring } from "./colouring.js";
import { Columns } from "./columns.js";
import { fillControls } from "./controls.js";
import { byId } from "./elements.js";
import { followField } from "./field_panel.js";
import { showFindings } from "./findings.js";
import { fillFilters, setFilter } from "./filters.js";
import { followKeys } from "./keyboard.js";
import { ParticleTable } from "./particle_table.js";
import { ParticlePanel } from "./particle_panel.js";
import { Picking } from "./picking.js";
import { followPointer } from "./pointer.js";
import * as server from "./server.js";
import { Settings } from "./settings.js";
import { followRun } from "./running.js";
import { followSolid } from "./solid_panel.js";
import { nextSolid } from "./space_panel.js";
import { followTabs, tabsOf } from "./tabs.js";
import { followTheme, nextTheme } from "./theme.js";
import { VolumeView } from "./volume_view.js";
import { fillWords } from "./words.js";

/** Say what went wrong, until something else is done. @param {string} words */
function failed(words) {
  const error = byId("error");
  error.textContent = words;
  error.hidden = false;
}

async function begin() {
  const settings = new Settings(location.hash.slice(1));
  const layout = await server.layout();
  byId("name").textContent = layout.name;
  byId("name").title = layout.store;
  document.title = `${layout.name} – crackdask`;
  settings.fit(layout.states.length);
  followTheme(settings);
  const canvas = /** @type {HTMLCanvasElement} */ (byId("view"));
  const view = new VolumeView(canvas, layout, settings, failed);
  fillControls(view, layout, settings);
  followPointer(view, settings, byId("readout"), failed);
  /** @type {Record<string, () => void>} */
  const keys = { d: () => nextTheme(settings) };
  followKeys(view, settings, keys);
  window.addEventListener("hashchange", (event) => {
    // Not the address of now: what was chosen before may have been written into it since.
    settings.read(new URL(event.newURL).hash.slice(1));
    settings.fit(layout.states.length);
  });
  settings.addEventListener("change", () => {
    byId("error").hidden = true;
  });
  byId("report").hidden = !layout.report;
  showFindings(layout);
  byId("copy").onclick = () => copyLink(settings);
  await view.firstPicture(); // before numbers, of which there may be many
  if (layout.complete) await withTables(view, settings, layout, keys);
  else followRun(view, layout);
}

/**
 * Copy the link to what is seen, and say so.
 * @param {Settings} settings
 */
async function copyLink(settings) {
  const words = byId("copy").textContent;
  try {
    await navigator.clipboard.writeText(new URL(settings.link(), location.href).href);
    byId("copy").textContent = "copied";
    setTimeout(() => { byId("copy").textContent = words; }, 1500);
  } catch {
    failed("the browser does not let the link be copied: copy the address of this page, which is the same");
  }
}

/**
 * Add what tables tell, which are made at the end of a run.
 * @param {VolumeView} view
 * @param {Settings} settings
 * @param {server.Layout} layout
 * @param {Record<string, () => void>} keys to be filled with what keys do
 */
async function withTables(view, settings, layout, keys) {
  const columns = new Columns(await server.catalogue(), layout.states.length, settings);
  const leaveOut = () => {
    const { particle, colour } = settings.values;
    const last = columns.catalogue.particles;
    if (!Number.isInteger(particle) || particle < 0 || particle > last) {
      settings.change({ particle: 0 });
      failed(`there is no particle ${particle}: labels go from 1 to ${last}`);
    }
    if (colour && !columns.has(colour)) {
      settings.change({ colour: "" });
      failed(`there is no column ${colour}`);
    }
  };
  leaveOut();
  window.addEventListener("hashchange", leaveOut);
  byId("note").textContent = "working out the damage …";
  fillWords(columns.catalogue);
  const choosing = new Choosing(view, settings, columns, failed);
  followColouring(view, settings, columns, failed);
  const tabs = tabsOf(columns.catalogue.cell);
  followTabs(settings, tabs);
  const picking = new Picking(view, settings);
  picking.showUnlessPlaced();
  window.addEventListener("hashchange", () => picking.showUnlessPlaced());
  const panel = new ParticlePanel(layout, settings, columns, picking, failed);
  followSolid(layout, settings, failed);
  followField(layout, settings, view.paint, picking, failed);
  const space = byId("space");
  space.hidden = false;
  space.onclick = () => settings.change({ solid: settings.values.solid === "field" ? "" : "field" });
  settings.follow(["solid"], () => space.setAttribute("aria-pressed", String(settings.values.solid === "field")));
  fillFilters(layout, settings, columns, choosing);
  const table = new ParticleTable(layout, settings, columns, choosing, picking, failed);
  if (columns.catalogue.cell) new CellPanel({ layout, settings, columns, failed });
  columns.values("damage.damage", settings.values.state).then(() => columns.paths()).catch(() => {}).finally(() => {
    byId("note").textContent = "";
    columns.ready = true;
    table.ask();
    panel.ask();
  });
  new ChartsPanel({ layout, settings, columns, choosing, picking, failed });
  Object.assign(keys, {
    c: () => picking.goTo(),
    n: () => table.step(1),
    p: () => table.step(-1),
    v: () => nextSolid(settings),
    f: () => toggleTracked(settings),
    t: () => settings.change({ tab: tabs[(tabs.indexOf(settings.values.tab) + 1) % tabs.length] }),
  });
}

/** @param {Settings} settings */
function toggleTracked(settings) {
  const on = settings.values.where.some((/** @type {any[]} */ [key]) => key === "particles.tracked");
  setFilter(settings, "particles.tracked", on ? null : ["particles.tracked", 0, 1, 1]);
}

begin().catch((error) => failed(error instanceof Error ? error.message : String(error)));
