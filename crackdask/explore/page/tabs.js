// Which part of the page stands beside the picture; on a wide screen all of them do.
// @ts-check

import { byId, radio } from "./elements.js";

/** Parts that there are. @param {boolean} cell whether the store has a record of the cell */
export const tabsOf = (cell) => ["particle", "table", "charts", ...(cell ? ["cell"] : [])];

/**
 * @param {import("./settings.js").Settings} settings
 * @param {string[]} tabs
 */
export function followTabs(settings, tabs) {
  byId("cell").hidden = !tabs.includes("cell");
  const show = radio(byId("tabs"), tabs.map((value) => ({ value, words: value, title: "key t" })), (tab) => settings.change({ tab }));
  settings.follow(["particle"], () => { // what is picked is seen from every tab
    const { particle } = settings.values;
    /** @type {Element} */ (byId("tabs").firstElementChild).textContent = particle ? `particle ${particle}` : "particle";
  });
  settings.follow(["tab"], () => {
    show(settings.values.tab);
    byId("sides").dataset.tab = tabs.includes(settings.values.tab) ? settings.values.tab : tabs[0];
  });
}
