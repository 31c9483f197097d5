// Particles coloured by a column: which one, by which map, between which values.
// @ts-check

import { gradient, MAPS } from "./colour_maps.js";
import { byId, made, titled, valued } from "./elements.js";

const SIGNED = /change|strain|displacement|\.z/; // columns that have a middle, which is 0

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
    settings.change({ colour: select.value, range: [0, 0], map: SIGNED.test(select.value) ? "diverging" : "viridis" });
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

  let asked = 0;
  const recolour = async () => {
    const mine = ++asked;
    const { colour, state } = settings.values;
    select.value = colour;
    byId("gradient").parentElement?.toggleAttribute("hidden", !colour);
    map.parentElement?.toggleAttribute("hidden", !colour);
    if (!columns.has(colour)) {
      view.colourBy(null);
      return;
    }
    view.canvas.dataset.coloured = "";
    try {
      columns.spread(colour, SIGNED.test(colour)).catch(() => {}); // asked for at the same time
      const values = await columns.values(colour, state);
      if (mine !== asked) return;
      view.colourBy(values, titled(columns.get(colour)), (value) => (Number.isFinite(value) ? valued(colour, value) : "not known"));
      await relook();
      if (mine !== asked) return;
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
    if (!columns.has(colour)) return;
    const own = range[1] > range[0] ? range : await columns.spread(colour, SIGNED.test(colour));
    if (colour !== settings.values.colour) return; // another one was chosen meanwhile
    [low.value, high.value] = own.map((/** @type {number} */ value) => String(Number(value.toPrecision(3))));
    view.colourLike(settings.values.map, own);
  };
  settings.follow(["colour", "state"], recolour);
  settings.follow(["map", "range"], relook);
}

