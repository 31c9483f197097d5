// Filters: conditions that a particle must meet, each shown as a chip that a click takes away.
// @ts-check

import { base } from "./columns.js";
import { address } from "./server.js";
import { shownColumns } from "./particle_table.js";
import { byId, CLASSES, made, pathOf, short, titled, valued } from "./elements.js";

/** Columns that are the same in every state. */
const EVERYWHERE = /^(damage\.radius_um|paths\.path_number|particles\.(tracked|lost|neighbour_lost|on_border|on_invalid))$/;
const DIAMETER = "particles.equivalent_diameter_um";

/** @typedef {import("./settings.js").Condition} Condition */

/**
 * @param {import("./server.js").Layout} layout
 * @param {import("./settings.js").Settings} settings
 * @param {import("./columns.js").Columns} columns
 * @param {import("./choosing.js").Choosing} choosing
 */
export function fillFilters(layout, settings, columns, choosing) {
  const count = made("output", { id: "count" });
  const chips = made("div", { className: "chips" });
  const save = made("a", { id: "save", title: "The columns that the table shows, in the state that is shown" });
  const saveAll = made("a", { id: "save-all", download: "selection.csv", title: "Every column in every state: a large file where there are many particles" }, "in all states, all columns");
  const clear = made("button", { type: "button", onclick: () => settings.change({ where: [], brush: [] }) }, "clear");
  byId("filters").replaceChildren(
    made("div", { className: "bar" }, ...quick(layout, settings, columns)),
    adder(settings, columns),
    made("div", { className: "bar" }, count, save, saveAll),
    chips,
  );
  const show = () => {
    const { where, brush } = settings.values;
    const marked = brush.length ? `, ${choosing.brushed} of them marked in a chart` : "";
    count.textContent = `${choosing.count} of ${choosing.all} particles${marked}`;
    chips.replaceChildren(
      ...(where.length || brush.length ? [clear] : []),
      ...where.map((/** @type {Condition} */ each) => chip(layout, settings, columns, "where", each)),
      ...brush.map((/** @type {Condition} */ each) => chip(layout, settings, columns, "brush", each)),
    );
    const { state } = settings.values;
    const keys = shownColumns(settings, columns);
    save.textContent = `save ${brush.length ? `${choosing.brushed} marked` : choosing.count} (CSV)`;
    save.download = `selection_${layout.states[state].name.replace(/[^\w.-]+/g, "_")}.csv`;
    save.href = address("selection.csv", { where: choosing.conditions, state, columns: keys.map((key) => columns.now(key)).join() });
    saveAll.href = address("selection.csv", { where: choosing.conditions });
  };
  choosing.addEventListener("change", show);
  settings.follow(["where", "brush", "state", "since", "shown"], show);
}

/**
 * Put a condition in the place of those on the same column (null: take them away).
 * @param {import("./settings.js").Settings} settings
 * @param {string} column
 * @param {Condition | null} condition
 */
export function setFilter(settings, column, condition) {
  const others = settings.values.where.filter((/** @type {Condition} */ [key]) => base(key) !== column);
  settings.change({ where: condition ? [...others, condition] : others, first: 0 });
}

/**
 * @param {import("./settings.js").Settings} settings
 * @param {string} column
 * @returns {Condition | undefined}
 */
const filterOn = (settings, column) => settings.values.where.find((/** @type {Condition} */ [key]) => base(key) === column);

/**
 * What stands in two fields, the lower one first; null: no limit.
 * @param {HTMLInputElement} low
 * @param {HTMLInputElement} high
 * @returns {[number | null, number | null]}
 */
function limits(low, high) {
  const [a, b] = [low, high].map(({ value }) => (value === "" ? null : Number(value)));
  return a !== null && b !== null && a > b ? [b, a] : [a, b];
}

/**
 * @param {import("./server.js").Layout} layout
 * @param {import("./settings.js").Settings} settings
 * @param {import("./columns.js").Columns} columns
 */
function quick(layout, settings, columns) {
  // A filter stays that of the state in which it was set; another state says so.
  const elsewhere = (/** @type {string} */ column) => {
    const state = EVERYWHERE.test(column) ? undefined : filterOn(settings, column)?.[1];
    return state === undefined || state === settings.values.state ? "" : ` in ${layout.states[state]?.name ?? state}`;
  };
  const named = (/** @type {string} */ column, /** @type {string} */ words) => {
    const told = made("span");
    settings.follow(["where", "state"], () => { told.textContent = words + elsewhere(column); });
    return told;
  };
  const here = () => settings.values.state;
  const box = (/** @type {string} */ column, /** @type {string} */ words, /** @type {string} */ title) => {
    const input = made("input", { type: "checkbox" });
    input.onchange = () => setFilter(settings, column, input.checked ? [columns.now(column), EVERYWHERE.test(column) ? 0 : here(), 1, 1] : null);
    settings.follow(["where", "state", "since"], () => {
      input.checked = Boolean(filterOn(settings, column));
      input.disabled = column.startsWith("changes.") && columns.since(here()) < 0 && !input.checked; // there is no change
    });
    return made("label", { title, hidden: !columns.has(column) }, input, named(column, words));
  };
  const choice = made("select", {}, made("option", { value: "" }, "any"), ...CLASSES.map((words, value) => made("option", { value }, words)));
  const classes = "damage.severity_number";
  choice.onchange = () => setFilter(settings, classes, choice.value ? [classes, here(), Number(choice.value), Number(choice.value)] : null);
  const [least, most] = ["least", "most"].map((words) => made("input", { type: "number", min: 0, step: "any", "aria-label": `${words} diameter in µm` }));
  least.onchange = most.onchange = () => {
    const [low, high] = limits(least, most);
    setFilter(settings, DIAMETER, low === null && high === null ? null : [DIAMETER, here(), low, high]);
  };
  settings.follow(["where"], () => {
    choice.value = String(filterOn(settings, classes)?.[2] ?? "");
    const [, , low, high] = filterOn(settings, DIAMETER) ?? ["", 0, null, null];
    [least.value, most.value] = [low, high].map((value) => (value === null ? "" : String(value)));
  });
  return [
    box("particles.tracked", "tracked", "whole and present in every state (key f)"),
    box("changes.significant", "significant change", `damage changed by ${columns.catalogue.significance} standard errors or more, in the state that is shown; of many particles, one in twenty does so by chance at 2`),
    sinceWhen(layout, settings, columns),
    made("label", { title: "class of damage, in the state that is shown" }, named(classes, "class of damage"), choice),
    made("label", { title: "diameter of the sphere of the same volume, in the state that is shown" }, named(DIAMETER, "diameter"), least, "to", most, "µm"),
  ];
}

/**
 * What chooses the state since which changes are told.
 * @param {import("./server.js").Layout} layout
 * @param {import("./settings.js").Settings} settings
 * @param {import("./columns.js").Columns} columns
 */
function sinceWhen({ states }, settings, columns) {
  const select = made("select", { id: "since" }, made("option", { value: -1 }, "the state before"), ...states.map(({ name }, value) => made("option", { value }, name)));
  select.onchange = () => settings.change({ since: Number(select.value), first: 0 });
  settings.follow(["since"], () => { select.value = String(settings.values.since); });
  return made("label", { title: "changes of damage, wherever they are shown, are those since this state", hidden: !columns.has("changes.change") }, "since", select);
}

/**
 * @param {import("./settings.js").Settings} settings
 * @param {import("./columns.js").Columns} columns
 */
function adder(settings, columns) {
  const column = made("select", { "aria-label": "column of a further filter" }, ...columns.options());
  const [low, high] = ["from", "to"].map((placeholder) => made("input", { type: "number", step: "any", placeholder, "aria-label": `${placeholder}, for the further filter` }));
  const add = () => {
    const ends = limits(low, high);
    if (ends[0] === null && ends[1] === null) return;
    settings.change({ where: [...settings.values.where, [columns.now(column.value), EVERYWHERE.test(column.value) ? 0 : settings.values.state, ...ends]], first: 0 });
    low.value = high.value = "";
  };
  const form = made("form", { className: "bar add", onsubmit: (/** @type {Event} */ event) => event.preventDefault() },
    made("label", {}, "any column", column), low, high, made("button", { type: "submit", onclick: add }, "add filter"));
  return form;
}

/**
 * @param {import("./server.js").Layout} layout
 * @param {import("./settings.js").Settings} settings
 * @param {import("./columns.js").Columns} columns
 * @param {"where" | "brush"} list
 * @param {Condition} condition
 */
function chip(layout, settings, columns, list, condition) {
  const [key, state, low, high] = condition;
  const column = columns.get(key);
  const since = layout.states[Number(key.split("@")[1] ?? -1)]?.name;
  const where = EVERYWHERE.test(key) ? "" : ` in ${layout.states[state]?.name ?? state}${since ? ` since ${since}` : ""}`;
  const limits = base(key) === "paths.path_number" && low !== null && high !== null ? ` ${pathOf(low, high)}` :
    low === high ? ` ${valued(base(key), low)}` : low === null ? ` ≤ ${short(high)}` : high === null ? ` ≥ ${short(low)}` : ` ${short(low)} to ${short(high)}`;
  const away = () => settings.change({ [list]: settings.values[list].filter((/** @type {Condition} */ each) => each !== condition), first: 0 });
  return made("button", { type: "button", className: `chip ${list}`, title: "take this filter away", onclick: away }, `${column ? titled(column) : key}${limits}${where} ×`);
}
