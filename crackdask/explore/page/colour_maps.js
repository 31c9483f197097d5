// Colours for numbers that people with any colour vision can tell apart.
// @ts-check

// Points of viridis and cividis (both free of rights, CC0) from their darkest to their lightest, and a diverging map
// from blue over pale yellow (white is what has no colour) to brown, the lightness of whose ends is the same.
const POINTS = {
  viridis: ["#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725"],
  cividis: ["#00224e", "#083370", "#35456c", "#4f576c", "#666970", "#7d7c78", "#948e77", "#aea371", "#c8b866", "#e5cf52", "#fee838"],
  diverging: ["#0b3c6f", "#2a6496", "#5b91b9", "#9cc0d6", "#f2e9a0", "#e2bd92", "#cb8b4d", "#a65d1c", "#713a08"],
};
export const MAPS = /** @type {(keyof typeof POINTS)[]} */ (Object.keys(POINTS));
const SIZE = 256;
/** Steps of states that are not on charge. */
export const DOWN = ["discharge", "aged"];

/**
 * Return a map as 256 colours, red green blue opacity.
 * @param {string} name
 */
export function colours(name) {
  const points = (POINTS[/** @type {keyof typeof POINTS} */ (name)] ?? POINTS.viridis).map(parts);
  const all = new Uint8Array(4 * SIZE);
  for (let k = 0; k < SIZE; k++) {
    const along = (k / (SIZE - 1)) * (points.length - 1);
    const before = Math.min(Math.floor(along), points.length - 2);
    const share = along - before;
    for (let c = 0; c < 3; c++) {
      all[4 * k + c] = Math.round(points[before][c] * (1 - share) + points[before + 1][c] * share);
    }
    all[4 * k + 3] = 255;
  }
  return all;
}

/** A map as a background of CSS, from left to right. @param {string} name */
export function gradient(name) {
  const points = POINTS[/** @type {keyof typeof POINTS} */ (name)] ?? POINTS.viridis;
  return `linear-gradient(to right, ${points.join(", ")})`;
}

/**
 * Colours for the states in their order, told apart by lightness as well.
 * @param {number} count
 * @param {boolean} dark
 */
export function ramp(count, dark) {
  const all = colours("viridis");
  const [low, high] = dark ? [0.3, 1] : [0, 0.82];
  return Array.from({ length: count }, (_, k) => {
    const place = Math.round((low + ((high - low) * k) / Math.max(1, count - 1)) * (SIZE - 1));
    return `rgb(${all[4 * place]}, ${all[4 * place + 1]}, ${all[4 * place + 2]})`;
  });
}

/**
 * How the line of a state is drawn: that which is shown is thick, those on discharge are dashed.
 * @param {{step: string}} state
 * @param {boolean} shown
 */
export const stroke = ({ step }, shown) => ({ line_width: shown ? 4 : 1.6, line_dash: DOWN.includes(step) ? [6, 3] : [] });

/** @param {string} text */
function parts(text) {
  return [1, 3, 5].map((k) => Number.parseInt(text.slice(k, k + 2), 16));
}
