// Particles coloured by a column: which one, by which map, between which values.
// @ts-check

import { colours, gradient, MAPS } from "./colour_maps.js";
import { byId, kindsOf, made, titled, valued } from "./elements.js";

const SIGNED = /change|strain|displacement|\.z/; // columns that have a middle, which is 0
const FEW = 4; // kinds that are named one by one

/** @param {string} key */
const isSigned = (key) => SIGNED.test(key) && !kindsOf(key);

/**
 * Name the colours of kinds, in the place of limits; the first and the last of many.
 * @param {string[] | null} kinds
 * @param {string} map
 */
function showKinds(kinds, map) {
  const all = colours(map);
  const swatch = (/** @type {string} */ words, /** @type {number} */ k) => {
    const at = 4 * Math.round((255 * k) / Math.max(1, (kinds?.length ?? 1) - 1));
    const told = made("span", {}, words);
    told.style.borderColor = `rgb(${all[at]}, ${all[at + 1]}, ${all[at + 2]})`;
    return told;
  };
  const named = (kinds ?? []).map(swatch);
  byId("kinds").replaceChildren(...(named.length > FEW ? [named[0], "…", named[named.length - 1]] : named));
  for (const id of ["low", "high", "auto", "gradient"]) byId(id).hidden = kinds !== null;
}

/**
 * What the colours say, under them.
 * @param {string} key
 * @param {Float32Array} values
 * @param {string} state
 * @param {string | undefined} since
 */
function meaning(key, values, state, since) {
  const change = key.startsWith("changes.");
  const of = change && since ? ` since ${since}` : "";
  if (!values.some(Number.isFinite)) return change ? `no change in ${state}: choose another state, or another “since”` : `no particle has a value in ${state}`;
  const ends = key === "changes.change" || key === "changes.z" ? `below 0 healed, above 0 more damaged${of}; ` : of ? `${of.trim()}; ` : "";
  return `${ends}without colour: no value, as of particles that are not tracked, or left out by filters`;
}

/**
 * @param {import("./volume_view.js").VolumeView} view
 * @param {import("./settings.js").Settings} settings
 * @param {import("./columns.js").Columns} columns
 * @param {(words: string) => void} failed
 */
export function followColouring(view, settings, columns, failed) {
  const select = /** @type {HTMLSelectElement} */ (byId("colour"));
  select.replaceChildren(made("option", { value: "" }, "own colour each"), ...columns.options());
  select.onchange = () =>
    settings.change({ colour: select.value, range: [0, 0], map: isSigned(select.value) ? "diverging" : "viridis" });
  const map = /** @type {HTMLSelectElement} */ (byId("map"));
  map.replaceChildren(...MAPS.map((name) => made("option", { value: name }, name)));
  map.onchange = () => settings.change({ map: map.value });
  const [low, high] = ["low", "high"].map((id) => /** @type {HTMLInputElement} */ (byId(id)));
  low.onchange = high.onchange = () => {
    const range = [low, high].map((input) => (input.value === "" ? Number.NaN : Number(input.value)));
    if (range[1] > range[0]) settings.change({ range });
    else if (range[1] <= range[0]) failed(`colours go from ${range[0]} upwards: the limit at the other end is to be above that, not ${range[1]}`);
    else relook(); // which puts back the limits that hold
  };
  byId("auto").onclick = () => settings.change({ range: [0, 0] });

  const { states } = view.layout;
  let asked = 0;
  const recolour = async () => {
    const mine = ++asked;
    const { colour, state } = settings.values;
    select.value = colour;
    byId("gradient").parentElement?.toggleAttribute("hidden", !colour);
    map.parentElement?.toggleAttribute("hidden", !colour);
    byId("meaning").hidden = byId("kinds").hidden = !colour;
    byId("meaning").textContent = "…";
    if (!columns.has(colour)) {
      view.colourBy(null);
      return;
    }
    view.canvas.dataset.coloured = "";
    try {
      if (!kindsOf(colour)) columns.spread(colour, isSigned(colour)).catch(() => {}); // asked for at the same time
      const values = await columns.values(colour, state);
      if (mine !== asked) return;
      view.colourBy(values, titled(columns.get(colour)), (value) => (Number.isFinite(value) ? valued(colour, value) : "not known"));
      await relook();
      if (mine !== asked) return;
      byId("meaning").textContent = meaning(colour, values, states[state].name, states[columns.since(state)]?.name);
      view.canvas.dataset.coloured = `${colour} ${state}`;
      select.title = columns.get(colour).long_name;
    } catch (error) {
      if (mine !== asked) return;
      view.colourBy(null);
      failed(error instanceof Error ? error.message : String(error));
    }
  };
  const relook = async () => {
    const { colour, range } = settings.values;
    map.value = settings.values.map;
    byId("gradient").style.background = gradient(settings.values.map);
    const kinds = kindsOf(colour);
    showKinds(kinds, settings.values.map);
    if (!columns.has(colour)) return;
    const own = kinds ? [0, kinds.length - 1] : range[1] > range[0] ? range : await columns.spread(colour, isSigned(colour));
    if (colour !== settings.values.colour) return; // another one was chosen meanwhile
    [low.value, high.value] = own.map((/** @type {number} */ value) => String(Number(value.toPrecision(3))));
    view.colourLike(settings.values.map, own);
  };
  settings.follow(["colour", "state", "since"], recolour);
  settings.follow(["map", "range"], relook);
}

