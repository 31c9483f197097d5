// A store whose run is not at its end: what is done so far is shown, and what is done meanwhile is taken up.
// @ts-check

import { byId } from "./elements.js";
import * as server from "./server.js";

const EVERY = 5000; // ms

/**
 * @param {import("./volume_view.js").VolumeView} view
 * @param {server.Layout} layout
 */
export function followRun(view, layout) {
  byId("sides").dataset.tab = "none";
  const tell = (/** @type {server.Layout} */ now) => {
    const count = (/** @type {string[]} */ ...steps) => now.done.filter((each) => steps.includes(each.split("-")[0])).length;
    byId("note").textContent =
      `the run is not at its end: grey of ${count("grey")}, particles of ${count("labels", "transfer")} of ${now.states.length} states; ` +
      "tables come at its end";
  };
  tell(layout);
  let { stamp } = layout;
  const look = async () => {
    try {
      const now = await server.layout();
      if (now.complete) location.reload();
      tell(now);
      if (now.stamp !== stamp) {
        stamp = now.stamp;
        view.tiles.clear();
        view.draw();
      }
    } catch {
      byId("note").textContent = "the server does not answer any more";
    }
    setTimeout(look, EVERY);
  };
  setTimeout(look, EVERY);
}
