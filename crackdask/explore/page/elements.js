// Elements of the page: found, made and filled, always as text, never as markup.
// @ts-check

/**
 * The element of an id.
 * @template {HTMLElement} T
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return /** @type {T} */ (found);
}

/**
 * Make an element.
 * @param {string} kind
 * @param {Record<string, any>} [properties] and attributes, where they have a hyphen or are `role`
 * @param {(Node | string)[]} inside
 * @returns {any}
 */
export function made(kind, properties = {}, ...inside) {
  const element = document.createElement(kind);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else /** @type {any} */ (element)[name] = value;
  }
  element.append(...inside);
  return element;
}

/**
 * Fill a group of buttons of which one is chosen.
 * @param {HTMLElement} group
 * @param {{value: any, words: string, title?: string}[]} choices
 * @param {(value: any) => void} pick
 * @returns {(value: any) => void} shows which one is chosen
 */
export function radio(group, choices, pick) {
  const role = group.getAttribute("role") === "tablist" ? "tab" : "radio";
  const mark = role === "tab" ? "aria-selected" : "aria-checked";
  const buttons = choices.map(({ value, words, title }) =>
    made("button", { role, type: "button", title: title ?? "", onclick: () => pick(value), "data-value": String(value) }, words),
  );
  group.replaceChildren(...buttons);
  return (value) => {
    for (const [k, button] of buttons.entries()) button.setAttribute(mark, String(choices[k].value === value));
  };
}

/**
 * A number in few digits.
 * @param {number | null | undefined} value
 * @param {number} digits
 */
export function short(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-4)) return value.toExponential(digits - 1);
  const text = Number.isInteger(value) ? String(value) : value.toPrecision(digits);
  return text.replace("-", "\u2212");
}

/** A unit as it is printed. @param {string} units */
export function unit(units) {
  return units === "1" ? "" : units.replace("um", "µm").replace("2", "²").replace("3", "³");
}

/** Names of columns whose own name does not say enough by itself. */
const TITLES = /** @type {Record<string, string>} */ ({
  "damage.standard_error": "error of damage, 1 SE",
  "damage.severity_number": "class of damage",
  "damage.radius_um": "radius at first",
  "changes.change": "change of damage",
  "changes.standard_error": "error of change, 1 SE",
  "changes.z": "change over its error",
  "changes.significant": "significant change",
  "particles.equivalent_diameter_um": "diameter",
  "particles.centroid_z_um": "position z",
  "particles.centroid_y_um": "position y",
  "particles.centroid_x_um": "position x",
  "paths.path_number": "path of damaged and healed",
});

/** The title of a column, with its unit. @param {{key: string, units: string}} column */
export function titled(column) {
  const words = TITLES[column.key] ?? column.key.split(".")[1].replace(/_um[23]?$/, "").replaceAll("_", " ");
  return unit(column.units) ? `${words} (${unit(column.units)})` : words;
}

/** Classes of damage by their number. */
export const CLASSES = ["minimal", "moderate", "high"];
const TRUTHS = /^(changes\.significant|particles\.(tracked|lost|neighbour_lost|on_border|on_invalid|touches_\w+))$/;

const PATH = "paths.path_number";
let steps = 0; // of the tree of damaged and healed, once they are known

/** Take how many steps the tree of damaged and healed has. @param {number} count */
export function knowPaths(count) {
  steps = count;
}

/**
 * What the paths from one number to another have in common, as DDH….
 * @param {number} low
 * @param {number} high
 */
export function pathOf(low, high) {
  if (!steps) return low === high ? String(low) : `${low} to ${high}`;
  const [a, b] = [low, high].map((number) => number.toString(2).padStart(steps, "0").replaceAll("1", "D").replaceAll("0", "H"));
  let alike = 0;
  while (alike < steps && a[alike] === b[alike]) alike += 1;
  return a.slice(0, alike) + (alike < steps ? "…" : "");
}

/**
 * The words of a column's values, where these are kinds and no measure: value 0, 1, ...; null for a measure.
 * @param {string} key
 * @returns {string[] | null}
 */
export function kindsOf(key) {
  if (key === "damage.severity_number") return CLASSES;
  if (key === PATH && steps) return Array.from({ length: 2 ** steps }, (_, k) => pathOf(k, k));
  return TRUTHS.test(key) ? ["no", "yes"] : null;
}

/**
 * A value of a column in words.
 * @param {string} key
 * @param {number | null} value
 */
export function valued(key, value) {
  if (value === null) return "–";
  if (key === PATH) return pathOf(value, value);
  if (key === "damage.severity_number") return CLASSES[value] ?? String(value);
  return TRUTHS.test(key) ? (value ? "yes" : "no") : short(value);
}

/**
 * Hand the user a file.
 * @param {string} name
 * @param {string} text
 */
export function saved(name, text) {
  const link = made("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/**
 * Rows as CSV; what a spreadsheet would take for a formula is made text.
 * @param {string[]} heads
 * @param {any[][]} rows
 */
export function csv(heads, rows) {
  const cell = (/** @type {any} */ value) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "";
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `${[heads, ...rows].map((row) => row.map(cell).join(",")).join("\n")}\n`;
}
