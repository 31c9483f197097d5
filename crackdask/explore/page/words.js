// What the words of the page mean.
// @ts-check

import { byId, CLASSES, made, titled } from "./elements.js";

/**
 * Add words and columns to the page of help.
 * @param {import("./server.js").Catalogue} catalogue
 */
export function fillWords({ class_limits: [low, high], significance, largest, columns }) {
  const words = [
    ["tracked", "whole, present in every state, and beside no particle that is absent in one: damage is known of these alone"],
    ["damage", "the damage factor: what part of the innermost eighth of a particle is void, beyond what the scan makes of a solid one; 0: solid; a little below 0: noise"],
    ["error", "one standard error (1 SE); charts draw two (± 2 SE)"],
    ["class of damage", `${CLASSES[0]} below ${low}, ${CLASSES[1]} from there, ${CLASSES[2]} from ${high} on`],
    ["change of damage", "since the state that is chosen at “since”; below 0: healed. Its error is smaller than those of both damages together: what is alike in all states of a particle cancels"],
    ["significant change", `${significance} of its errors or more. Of particles that did not change, one in twenty is beyond 2 by chance: sort by “change over its error” for the surest`],
    ["paths", `of the larger ${Math.round(100 * largest)}% of the tracked particles: D where damage rose from state to state, H where it fell or stayed, noise included`],
    ["core grey, radius at first", "mean grey level of the innermost eighth; radius in the reference state, the same in all states"],
    ["touches, on", "touches border or invalid: in this state; on border or invalid: in any state"],
    ["grey", "grey levels of the scans on one scale; “grey … to …” is what is shown black and white"],
    ["strength", "how much of the colour is laid over the grey level"],
    ["auto", "colours from the 2nd to the 98th percentile of the column over all states"],
    ["cracks below", "in 3D: darker than this grey level is orange; it is the same for all states of a particle, but not for all particles"],
  ];
  const list = (/** @type {string[][]} */ rows) => made("dl", {}, ...rows.flatMap(([word, told]) => [made("dt", {}, word), made("dd", {}, told)]));
  const help = byId("help");
  help.append(
    made("h2", {}, "Words"), list(words),
    made("details", {}, made("summary", {}, "all columns"), list(columns.map((column) => [titled(column), column.long_name]))),
  );
}
