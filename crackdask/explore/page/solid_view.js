// A particle in space, drawn by the graphics card: one cell of the canvas a state, all seen from the same place.
// @ts-check

import { solidProgram } from "./solid_shader.js";

/**
 * A particle in one state, as a texture.
 * @typedef {{texture: WebGLTexture, shape: number[], levels: [number, number], halfway: number, there: boolean,
 *   measured: boolean, step: number}} Solid step: voxels of the finest level that one of its takes; measured: whether its cracks are known voxel by voxel
 */

/**
 * Grey levels in 8 bits, beside whether a voxel is the particle's, of a crack, of its skeleton; and the level halfway
 * between the particle and what it lies in.
 * @param {Uint8Array | Uint16Array} grey
 * @param {Uint8Array} own
 * @param {Uint8Array | null} cracks 1: crack, 2: of its skeleton too
 */
function packed(grey, own, cracks) {
  let [low, high] = [0, 255];
  if (grey.BYTES_PER_ELEMENT > 1) {
    [low, high] = [Infinity, -Infinity];
    for (const value of grey) [low, high] = [Math.min(low, value), Math.max(high, value)];
  }
  const scale = 255 / Math.max(high - low, 1);
  const voxels = new Uint8Array(4 * grey.length);
  const [sum, count] = [[0, 0], [0, 0]];
  for (let k = 0; k < grey.length; k++) {
    voxels[4 * k] = (grey[k] - low) * scale;
    voxels[4 * k + 1] = 255 * own[k];
    if (cracks?.[k]) voxels.fill(255, 4 * k + 2, 4 * k + 2 + cracks[k]);
    sum[own[k]] += grey[k];
    count[own[k]] += 1;
  }
  const [beside, inside] = sum.map((all, k) => all / Math.max(count[k], 1));
  return { voxels, levels: /** @type {[number, number]} */ ([low, high]), halfway: (beside + inside) / 2, there: count[1] > 0 };
}

/**
 * Set from where a box of voxels is seen; its longest edge spans from -1 to 1.
 * @param {WebGL2RenderingContext} gl
 * @param {Record<string, WebGLUniformLocation | null>} places
 * @param {number[]} shape voxels along x, y, z
 * @param {number[]} voxel size along z, y, x
 * @param {number[]} turn
 * @param {number} near
 * @param {number} ratio of the picture's width to its height
 * @param {boolean} corners whether all of the box is to be seen; a particle leaves the corners of its box free
 * @returns {number} what the width of the picture spans, in units of `voxel`
 */
export function setCamera(gl, places, shape, voxel, [about, above], near, ratio, corners) {
  const lengths = shape.map((n, axis) => n * voxel[2 - axis]);
  const extent = lengths.map((length) => length / Math.max(...lengths));
  const half = (corners ? 0.97 * Math.hypot(...extent) : 1.15) / near;
  const [s, c, u, v] = [Math.sin(about), Math.cos(about), Math.sin(above), Math.cos(above)];
  const wide = half * Math.max(1, ratio);
  gl.uniform2f(places.across, wide, half * Math.max(1, 1 / ratio));
  gl.uniform3f(places.shape, shape[0], shape[1], shape[2]);
  gl.uniform3f(places.extent, extent[0], extent[1], extent[2]);
  gl.uniform3f(places.right, -s, c, 0);
  gl.uniform3f(places.up, -u * c, -u * s, v);
  gl.uniform3f(places.towards, v * c, v * s, u);
  return wide * Math.max(...lengths);
}

export class SolidView {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {number[]} voxel its size along z, y, x
   */
  constructor(canvas, voxel) {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false, preserveDrawingBuffer: true });
    if (!gl) throw new Error("this browser has no more WebGL 2 to give, which draws in 3D: close other pages that use it");
    this.gl = gl;
    this.canvas = canvas;
    this.voxel = voxel;
    const { program, places } = solidProgram(gl);
    this.places = places;
    gl.useProgram(program);
    gl.uniform1i(places.voxels, 0);
  }

  /**
   * @param {number[]} shape along z, y, x
   * @param {number} step voxels of the finest level that one of its takes
   * @param {ArrayBuffer} data
   * @param {boolean} wide whether grey levels have 16 bits
   * @returns {Solid}
   */
  solid([z, y, x], step, data, wide) {
    const { gl } = this;
    const all = z * y * x;
    const grey = wide ? new Uint16Array(data, 0, all) : new Uint8Array(data, 0, all);
    const measured = data.byteLength > grey.byteLength + all;
    const cracks = measured ? new Uint8Array(data, grey.byteLength + all) : null;
    const { voxels, ...told } = packed(grey, new Uint8Array(data, grey.byteLength, all), cracks);
    const texture = /** @type {WebGLTexture} */ (gl.createTexture());
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_3D, texture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage3D(gl.TEXTURE_3D, 0, gl.RGBA8, x, y, z, 0, gl.RGBA, gl.UNSIGNED_BYTE, voxels);
    for (const [what, how] of [
      [gl.TEXTURE_MIN_FILTER, gl.LINEAR], [gl.TEXTURE_MAG_FILTER, gl.LINEAR], [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE],
      [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_R, gl.CLAMP_TO_EDGE],
    ]) gl.texParameteri(gl.TEXTURE_3D, what, how);
    return { texture, shape: [x, y, z], step, measured, ...told };
  }

  /** @param {Solid} solid */
  forget(solid) {
    this.gl.deleteTexture(solid.texture);
  }

  /**
   * @param {Solid[]} solids
   * @param {{left: number, top: number, width: number, height: number}[]} cells parts of the canvas, from 0 to 1
   * @param {{turn: number[], near: number, window: number[], surface: number, cut: number, axis: number, dark: number,
   *   measured: boolean}} look `measured`: show cracks that are known rather than what is dark
   * @returns {number} what the width of a cell spans, in µm
   */
  draw(solids, cells, look) {
    const { gl, canvas, places } = this;
    gl.disable(gl.SCISSOR_TEST);
    gl.clearColor(0, 0, 0, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    this.setLook(look);
    let spanned = 0;
    for (const [k, solid] of solids.entries()) {
      if (!solid?.there) continue;
      const { left, top, width, height } = cells[k];
      const [w, h] = [width * canvas.width, height * canvas.height];
      gl.viewport(left * canvas.width, (1 - top - height) * canvas.height, w, h);
      spanned = solid.step * setCamera(gl, places, solid.shape, this.voxel, look.turn, look.near, w / h, false);
      gl.uniform1i(places.measured, Number(look.measured && solid.measured));
      gl.uniform2f(places.levels, solid.levels[0], solid.levels[1]);
      gl.bindTexture(gl.TEXTURE_3D, solid.texture);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    }
    return spanned;
  }

  /** @param {{window: number[], surface: number, cut: number, axis: number, dark: number}} look */
  setLook({ window, surface, cut, axis, dark }) {
    const { gl, places } = this;
    gl.uniform2f(places.window, window[0], window[1]);
    gl.uniform1f(places.surface, surface);
    gl.uniform1f(places.cut, cut);
    gl.uniform1f(places.dark, dark);
    gl.uniform1i(places.axis, axis);
  }
}
