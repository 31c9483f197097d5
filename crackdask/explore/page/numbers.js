// Arithmetic on columns: quantiles, histograms, means of groups. Arrays in, numbers out.
// @ts-check

/** Finite values of the labels that are marked, sorted. @param {Float32Array} values @param {Uint8Array} marks @param {number} least */
export function sorted(values, marks, least) {
  const kept = new Float32Array(values.length);
  let count = 0;
  for (let k = 1; k < values.length; k++) if (marks[k] >= least && Number.isFinite(values[k])) kept[count++] = values[k];
  return kept.subarray(0, count).sort();
}

/** A quantile of sorted values, between two of them where it falls between. @param {ArrayLike<number>} all @param {number} share */
export function quantile(all, share) {
  if (!all.length) return Number.NaN;
  const place = share * (all.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, all.length - 1);
  return all[below] + (all[above] - all[below]) * (place - below);
}

/** The values that part sorted ones in equal groups, without the ends. @param {ArrayLike<number>} all @param {number} parts */
export const borders = (all, parts) => Array.from({ length: parts - 1 }, (_, k) => quantile(all, (k + 1) / parts));

/**
 * Counts of sorted values in equal bins.
 * @param {ArrayLike<number>} all
 * @param {number} low
 * @param {number} high
 * @param {number} bins
 */
export function counts(all, low, high, bins) {
  const found = new Array(bins).fill(0);
  const width = (high - low) / bins || 1;
  for (let k = 0; k < all.length; k++) {
    const bin = Math.floor((all[k] - low) / width);
    if (bin >= 0 && bin <= bins) found[Math.min(bin, bins - 1)] += 1;
  }
  return found;
}

/**
 * Mean of a column, and twice its standard error, in groups of another between borders.
 * @param {Float32Array} by the column that decides the group
 * @param {Float32Array} values
 * @param {Uint8Array} marks
 * @param {number[]} limits borders between groups
 */
export function groupMeans(by, values, marks, limits) {
  const groups = Array.from({ length: limits.length + 1 }, () => ({ count: 0, sum: 0, square: 0 }));
  for (let k = 1; k < values.length; k++) {
    if (!marks[k] || !Number.isFinite(values[k]) || !Number.isFinite(by[k])) continue;
    let group = 0;
    while (group < limits.length && by[k] > limits[group]) group += 1;
    groups[group].count += 1;
    groups[group].sum += values[k];
    groups[group].square += values[k] ** 2;
  }
  return groups.map(({ count, sum, square }) => {
    const mean = count ? sum / count : Number.NaN;
    const variance = count > 1 ? Math.max(0, square - count * mean ** 2) / (count - 1) : Number.NaN;
    return { count, mean, error: 2 * Math.sqrt(variance / count) };
  });
}

/**
 * Labels that are marked, at most some of them, spread evenly over all.
 * @param {Uint8Array} marks
 * @param {number} most
 * @param {(label: number) => boolean} has
 */
export function sampled(marks, most, has) {
  /** @type {number[]} */
  const all = [];
  for (let k = 1; k < marks.length; k++) if (marks[k] && has(k)) all.push(k);
  if (all.length <= most) return { labels: all, count: all.length };
  const step = all.length / most;
  return { labels: Array.from({ length: most }, (_, k) => all[Math.floor(k * step)]), count: all.length };
}
