// Light or dark, as the system says or as was chosen.
// @ts-check

import { byId } from "./elements.js";

const system = matchMedia("(prefers-color-scheme: dark)");

/** @param {import("./settings.js").Settings} settings */
export function followTheme(settings) {
  const show = () => {
    document.documentElement.dataset.theme = isDark(settings) ? "dark" : "light";
    byId("theme").textContent = isDark(settings) ? "light" : "dark";
  };
  settings.follow(["theme"], show);
  system.addEventListener("change", show);
  byId("theme").onclick = () => nextTheme(settings);
}

/** @param {import("./settings.js").Settings} settings */
export function isDark(settings) {
  return settings.values.theme ? settings.values.theme === "dark" : system.matches;
}

/** @param {import("./settings.js").Settings} settings */
export function nextTheme(settings) {
  settings.change({ theme: isDark(settings) ? "light" : "dark" });
}
