// The controls around the picture: state, plane, slice, grey window, how particles are drawn.
// @ts-check

import { byId, radio } from "./elements.js";
import { AXES, axesOf, PLANES } from "./plane_geometry.js";
import { stepSlice, within } from "./pointer.js";

const LABELS = [
  { value: "fill", words: "filled" },
  { value: "outline", words: "outlined" },
  { value: "off", words: "grey alone" },
];

/**
 * @param {import("./volume_view.js").VolumeView} view
 * @param {import("./server.js").Layout} layout
 * @param {import("./settings.js").Settings} settings
 */
export function fillControls(view, layout, settings) {
  const states = layout.states.map((state, value) => ({
    value, words: state.name, title: `${state.step}, ${state.voltage} V, cycle ${state.cycle} (keys , and .)`,
  }));
  const showState = radio(byId("states"), states, (state) => settings.change({ state }));
  settings.follow(["state"], () => showState(settings.values.state));
  const planes = Object.keys(PLANES).map((value, k) => ({ value, words: value, title: `key ${k + 1}` }));
  const showPlane = radio(byId("planes"), planes, (plane) => settings.change({ plane }));
  settings.follow(["plane"], () => showPlane(settings.values.plane));
  const showLabels = radio(byId("labels"), LABELS, (labels) => settings.change({ labels }));
  settings.follow(["labels"], () => showLabels(settings.values.labels));
  followWindow(settings);
  followSlice(view, layout, settings);
  followScale(view, layout);
  byId("whole").onclick = () => settings.change({ zoom: 0, at: middle(view) });
}

/** The middle of the plane, in the slice that is shown. @param {import("./volume_view.js").VolumeView} view */
export function middle(view) {
  const at = view.layout.shape.map((n) => n / 2);
  const { cut } = view.geometry.axes;
  at[cut] = view.geometry.index + 0.5;
  return within(at, view.layout.shape);
}

/** @param {import("./settings.js").Settings} settings */
function followWindow(settings) {
  const [black, white] = ["black", "white"].map((id) => /** @type {HTMLInputElement} */ (byId(id)));
  const take = () => {
    const [low, high] = [black, white].map((input) => Number(input.value));
    if (high > low) settings.change({ window: [low, high] });
  };
  black.onchange = white.onchange = take;
  const opacity = /** @type {HTMLInputElement} */ (byId("opacity"));
  opacity.oninput = () => settings.change({ opacity: Number(opacity.value) });
  settings.follow(["window", "opacity"], () => {
    [black.value, white.value] = settings.values.window.map(String);
    opacity.value = String(settings.values.opacity);
  });
}

/**
 * @param {import("./volume_view.js").VolumeView} view
 * @param {import("./server.js").Layout} layout
 * @param {import("./settings.js").Settings} settings
 */
function followSlice(view, layout, settings) {
  const slice = /** @type {HTMLInputElement} */ (byId("slice"));
  slice.oninput = () => stepSlice(view, settings, Number(slice.value) - view.geometry.index);
  settings.follow(["plane", "at"], () => {
    const { cut } = axesOf(settings.values.plane);
    const { index } = view.geometry;
    slice.max = String(layout.shape[cut] - 1);
    slice.value = String(index);
    byId("axis").textContent = AXES[cut];
    const um = ((index + 0.5) * layout.voxel_um[cut]).toFixed(1);
    byId("where").textContent = `slice ${index} of 0–${layout.shape[cut] - 1}, ${um} µm`;
  });
}

/**
 * @param {import("./volume_view.js").VolumeView} view
 * @param {import("./server.js").Layout} layout
 */
function followScale(view, layout) {
  const box = byId("scale");
  const bar = /** @type {HTMLElement} */ (box.firstElementChild);
  view.drawn.push(() => {
    const { axes, zoom, stretch } = view.geometry;
    const perUm = (zoom * stretch[1]) / layout.voxel_um[axes.column] / (devicePixelRatio || 1);
    const length = roundLength(140 / perUm);
    bar.style.width = `${length * perUm}px`;
    if (box.lastChild !== bar) box.lastChild?.remove();
    box.append(`${length} µm`);
  });
}

/** The longest round length that is not longer than another. @param {number} longest */
export function roundLength(longest) {
  const ten = 10 ** Math.floor(Math.log10(longest));
  return Number(([5, 2, 1].map((k) => k * ten).find((each) => each <= longest) ?? ten).toPrecision(1));
}
