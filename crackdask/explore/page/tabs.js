// Which part of the page stands beside the picture; on a wide screen all of them do.
// @ts-check

import { byId, radio } from "./elements.js";

export const TABS = ["particle", "table", "charts"];

/** @param {import("./settings.js").Settings} settings */
export function followTabs(settings) {
  const show = radio(byId("tabs"), TABS.map((value) => ({ value, words: value, title: "key t" })), (tab) => settings.change({ tab }));
  settings.follow(["tab"], () => {
    show(settings.values.tab);
    byId("sides").dataset.tab = TABS.includes(settings.values.tab) ? settings.values.tab : TABS[0];
  });
}
