// A particle in space, drawn by the graphics card: one cell of the canvas a state, all seen from the same place.
// @ts-check

import { solidProgram } from "./solid_shader.js";

/**
 * A particle in one state, as a texture.
 * @typedef {{texture: WebGLTexture, shape: number[], levels: [number, number], halfway: number, there: boolean}} Solid
 */

/**
 * Grey levels in 8 bits, beside whether a voxel is the particle's; and the level halfway between it and what it lies in.
 * @param {Uint8Array | Uint16Array} grey
 * @param {Uint8Array} own
 */
function packed(grey, own) {
  let [low, high] = [0, 255];
  if (grey.BYTES_PER_ELEMENT > 1) {
    [low, high] = [Infinity, -Infinity];
    for (const value of grey) [low, high] = [Math.min(low, value), Math.max(high, value)];
  }
  const scale = 255 / Math.max(high - low, 1);
  const voxels = new Uint8Array(2 * grey.length);
  const [sum, count] = [[0, 0], [0, 0]];
  for (let k = 0; k < grey.length; k++) {
    voxels[2 * k] = (grey[k] - low) * scale;
    voxels[2 * k + 1] = 255 * own[k];
    sum[own[k]] += grey[k];
    count[own[k]] += 1;
  }
  const [beside, inside] = sum.map((all, k) => all / Math.max(count[k], 1));
  return { voxels, levels: /** @type {[number, number]} */ ([low, high]), halfway: (beside + inside) / 2, there: count[1] > 0 };
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
   * @param {ArrayBuffer} data
   * @param {boolean} wide whether grey levels have 16 bits
   * @returns {Solid}
   */
  solid([z, y, x], data, wide) {
    const { gl } = this;
    const all = z * y * x;
    const grey = wide ? new Uint16Array(data, 0, all) : new Uint8Array(data, 0, all);
    const { voxels, ...told } = packed(grey, new Uint8Array(data, grey.byteLength));
    const texture = /** @type {WebGLTexture} */ (gl.createTexture());
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_3D, texture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage3D(gl.TEXTURE_3D, 0, gl.RG8, x, y, z, 0, gl.RG, gl.UNSIGNED_BYTE, voxels);
    for (const [what, how] of [
      [gl.TEXTURE_MIN_FILTER, gl.LINEAR], [gl.TEXTURE_MAG_FILTER, gl.LINEAR], [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE],
      [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_R, gl.CLAMP_TO_EDGE],
    ]) gl.texParameteri(gl.TEXTURE_3D, what, how);
    return { texture, shape: [x, y, z], ...told };
  }

  /** @param {Solid} solid */
  forget(solid) {
    this.gl.deleteTexture(solid.texture);
  }

  /**
   * @param {Solid[]} solids
   * @param {{left: number, top: number, width: number, height: number}[]} cells parts of the canvas, from 0 to 1
   * @param {{turn: number[], near: number, window: number[], surface: number, cut: number, axis: number, dark: number}} look
   */
  draw(solids, cells, look) {
    const { gl, canvas, places } = this;
    gl.disable(gl.SCISSOR_TEST);
    gl.clearColor(0, 0, 0, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    this.setLook(look);
    for (const [k, solid] of solids.entries()) {
      if (!solid?.there) continue;
      const { left, top, width, height } = cells[k];
      const [w, h] = [width * canvas.width, height * canvas.height];
      gl.viewport(left * canvas.width, (1 - top - height) * canvas.height, w, h);
      const lengths = solid.shape.map((n, axis) => n * this.voxel[2 - axis]);
      const extent = lengths.map((length) => length / Math.max(...lengths)); // half of it: the longest is 1
      const half = 1.15 / look.near;
      gl.uniform2f(places.across, half * Math.max(1, w / h), half * Math.max(1, h / w));
      gl.uniform3f(places.shape, solid.shape[0], solid.shape[1], solid.shape[2]);
      gl.uniform3f(places.extent, extent[0], extent[1], extent[2]);
      gl.uniform2f(places.levels, solid.levels[0], solid.levels[1]);
      gl.bindTexture(gl.TEXTURE_3D, solid.texture);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    }
  }

  /** @param {{turn: number[], window: number[], surface: number, cut: number, axis: number, dark: number}} look */
  setLook({ turn: [about, above], window, surface, cut, axis, dark }) {
    const { gl, places } = this;
    const [s, c, u, v] = [Math.sin(about), Math.cos(about), Math.sin(above), Math.cos(above)];
    gl.uniform3f(places.right, -s, c, 0);
    gl.uniform3f(places.up, -u * c, -u * s, v);
    gl.uniform3f(places.towards, v * c, v * s, u);
    gl.uniform2f(places.window, window[0], window[1]);
    gl.uniform1f(places.surface, surface);
    gl.uniform1f(places.cut, cut);
    gl.uniform1f(places.dark, dark);
    gl.uniform1i(places.axis, axis);
  }
}
