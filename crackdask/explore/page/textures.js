// Arrays as textures of the graphics card: voxels of a tile, and numbers by label.
// @ts-check

import { NOTHING } from "./shaders.js";

/** Labels in a row of a texture by label; graphics cards take at least that many columns and rows. */
export const WIDE = 2048;

/**
 * @param {WebGL2RenderingContext} gl
 * @param {WebGLTexture | null} held one to be filled anew
 * @param {number} columns
 * @param {number} rows
 * @param {number[]} formats internal format, format, type
 * @param {ArrayBufferView} data
 */
function filled(gl, held, columns, rows, [internal, format, type], data) {
  const texture = held ?? gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  gl.texImage2D(gl.TEXTURE_2D, 0, internal, columns, rows, 0, format, type, data);
  for (const [what, how] of [
    [gl.TEXTURE_MIN_FILTER, gl.NEAREST], [gl.TEXTURE_MAG_FILTER, gl.NEAREST],
    [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE],
  ]) gl.texParameteri(gl.TEXTURE_2D, what, how);
  return /** @type {WebGLTexture} */ (texture);
}

/**
 * Whole numbers of a tile, of 8, 16 or 32 bits.
 * @param {WebGL2RenderingContext} gl
 * @param {number} columns
 * @param {number} rows
 * @param {Uint8Array | Uint16Array | Uint32Array} data
 */
export function wholeTexture(gl, columns, rows, data) {
  const formats = {
    1: [gl.R8UI, gl.RED_INTEGER, gl.UNSIGNED_BYTE],
    2: [gl.R16UI, gl.RED_INTEGER, gl.UNSIGNED_SHORT],
    4: [gl.R32UI, gl.RED_INTEGER, gl.UNSIGNED_INT],
  }[data.BYTES_PER_ELEMENT];
  return filled(gl, null, columns, rows, /** @type {number[]} */ (formats), data);
}

/**
 * Marks by label.
 * @param {WebGL2RenderingContext} gl
 * @param {WebGLTexture | null} held
 * @param {Uint8Array} marks
 */
export function markTexture(gl, held, marks) {
  const rows = Math.max(1, Math.ceil(marks.length / WIDE));
  const all = new Uint8Array(WIDE * rows);
  all.set(marks);
  return filled(gl, held, WIDE, rows, [gl.R8UI, gl.RED_INTEGER, gl.UNSIGNED_BYTE], all);
}

/**
 * A column by label.
 * @param {WebGL2RenderingContext} gl
 * @param {WebGLTexture | null} held
 * @param {Float32Array} values
 */
export function valueTexture(gl, held, values) {
  const rows = Math.max(1, Math.ceil(values.length / WIDE));
  const all = new Float32Array(WIDE * rows).fill(NOTHING);
  for (let k = 0; k < values.length; k++) if (values[k] === values[k]) all[k] = values[k];
  return filled(gl, held, WIDE, rows, [gl.R32F, gl.RED, gl.FLOAT], all);
}

/**
 * A colour map.
 * @param {WebGL2RenderingContext} gl
 * @param {WebGLTexture | null} held
 * @param {Uint8Array} colours
 */
export function colourTexture(gl, held, colours) {
  return filled(gl, held, colours.length / 4, 1, [gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE], colours);
}
