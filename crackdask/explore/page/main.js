// Where the page begins: it asks what there is, and joins its parts.
// @ts-check

import { Choosing } from "./choosing.js";
import { followColouring } from "./colouring.js";
import { Columns } from "./columns.js";
import { fillControls } from "./controls.js";
import { byId } from "./elements.js";
import { followKeys } from "./keyboard.js";
import { followPointer } from "./pointer.js";
import * as server from "./server.js";
import { Settings } from "./settings.js";
import { followTheme, nextTheme } from "./theme.js";
import { VolumeView } from "./volume_view.js";

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
  settings.values.state = Math.min(layout.states.length - 1, Math.max(0, settings.values.state));
  followTheme(settings);
  const canvas = /** @type {HTMLCanvasElement} */ (byId("view"));
  const view = new VolumeView(canvas, layout, settings, failed);
  fillControls(view, layout, settings);
  followPointer(view, settings, byId("readout"), failed);
  followKeys(view, settings, { d: () => nextTheme(settings) });
  window.addEventListener("hashchange", () => settings.read(location.hash.slice(1)));
  settings.addEventListener("change", () => {
    byId("error").hidden = true;
  });
  byId("copy").onclick = () => navigator.clipboard?.writeText(new URL(settings.link(), location.href).href);
  if (layout.complete) await withTables(view, settings, layout);
}

/**
 * Add what tables tell, which are made at the end of a run.
 * @param {VolumeView} view
 * @param {Settings} settings
 * @param {server.Layout} layout
 */
async function withTables(view, settings, layout) {
  const columns = new Columns(await server.catalogue(), layout.states.length);
  new Choosing(view, settings, columns, failed);
  followColouring(view, settings, columns, failed);
}

begin().catch((error) => failed(error instanceof Error ? error.message : String(error)));
