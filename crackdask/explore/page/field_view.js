// The whole field in space, drawn by the graphics card from the labels of a coarse level.
// @ts-check

import { colours } from "./colour_maps.js";
import { fieldProgram } from "./field_shader.js";
import { setCamera } from "./solid_view.js";
import { colourTexture, markTexture, valueTexture, WIDE } from "./textures.js";

/** @typedef {{texture: WebGLTexture, shape: number[], step: number}} Field */
/** @typedef {{turn: number[], near: number, cut: number, axis: number, picked: number}} Look */

export class FieldView {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {number[]} voxel its size along z, y, x
   * @param {import("./paint.js").Paint} paint
   */
  constructor(canvas, voxel, paint) {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false, preserveDrawingBuffer: true });
    if (!gl) throw new Error("this browser has no more WebGL 2 to give, which draws in 3D: close other pages that use it");
    this.gl = gl;
    this.canvas = canvas;
    this.voxel = voxel;
    this.paint = paint;
    const { program, places } = fieldProgram(gl);
    this.places = places;
    gl.useProgram(program);
    for (const [unit, name] of ["label", "marks", "values", "colours"].entries()) gl.uniform1i(places[name], unit);
    gl.uniform1i(places.wide, WIDE);
    this.marks = markTexture(gl, null, paint.marks);
    this.values = valueTexture(gl, null, paint.values ?? new Float32Array(1));
    this.map = colourTexture(gl, null, colours(paint.map));
    this.point = gl.createFramebuffer();
    this.pixel = gl.createTexture();
    gl.activeTexture(gl.TEXTURE4);
    gl.bindTexture(gl.TEXTURE_2D, this.pixel);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA8, 1, 1);
  }

  /** Take what has changed of how particles are painted. @param {Set<string>} changed */
  painted(changed) {
    const { gl, paint } = this;
    gl.activeTexture(gl.TEXTURE5); // none of those that are drawn
    if (changed.has("marks")) markTexture(gl, this.marks, paint.marks);
    if (changed.has("values") && paint.values) valueTexture(gl, this.values, paint.values);
    if (changed.has("map")) colourTexture(gl, this.map, colours(paint.map));
  }

  /**
   * @param {number[]} shape along z, y, x
   * @param {number} step voxels of the finest level that one of its takes
   * @param {Uint32Array} labels
   * @returns {Field}
   */
  field([z, y, x], step, labels) {
    const { gl } = this;
    const most = gl.getParameter(gl.MAX_3D_TEXTURE_SIZE);
    if (Math.max(x, y, z) > most) throw new Error(`this graphics card takes ${most} voxels along an edge, and the field has ${Math.max(x, y, z)}`);
    const texture = /** @type {WebGLTexture} */ (gl.createTexture());
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_3D, texture);
    gl.texImage3D(gl.TEXTURE_3D, 0, gl.R32UI, x, y, z, 0, gl.RED_INTEGER, gl.UNSIGNED_INT, labels);
    for (const [what, how] of [
      [gl.TEXTURE_MIN_FILTER, gl.NEAREST], [gl.TEXTURE_MAG_FILTER, gl.NEAREST], [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE],
      [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_R, gl.CLAMP_TO_EDGE],
    ]) gl.texParameteri(gl.TEXTURE_3D, what, how);
    return { texture, shape: [x, y, z], step };
  }

  /** @param {Field} field */
  forget(field) {
    this.gl.deleteTexture(field.texture);
  }

  /** @param {Field} field @param {Look} look @returns {number} what its width spans, in µm */
  draw(field, look) {
    const { gl, canvas } = this;
    const spanned = this.set(field, look);
    gl.uniform1i(this.places.telling, 0);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    return spanned;
  }

  /**
   * The label that is seen at a place of the picture, from 0 to 1; 0: none.
   * @param {Field} field
   * @param {Look} look
   * @param {number} x
   * @param {number} y
   */
  at(field, look, x, y) {
    const { gl, canvas } = this;
    this.set(field, look);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.point);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.pixel, 0);
    gl.uniform1i(this.places.telling, 1);
    gl.viewport(-Math.floor(x * canvas.width), -Math.floor((1 - y) * canvas.height), canvas.width, canvas.height);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    const told = new Uint8Array(4);
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, told);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    return new Uint32Array(told.buffer)[0];
  }

  /** @param {Field} field @param {Look} look */
  set(field, { turn, near, cut, axis, picked }) {
    const { gl, places, canvas, paint } = this;
    const spanned = field.step * setCamera(gl, places, field.shape, this.voxel, turn, near, canvas.width / canvas.height, true);
    gl.uniform2f(places.range, paint.range[0], paint.range[1]);
    gl.uniform1f(places.cut, cut);
    gl.uniform1i(places.axis, axis);
    gl.uniform1ui(places.picked, picked);
    gl.uniform1i(places.coloured, Number(paint.values !== null));
    gl.uniform1i(places.brushed, Number(paint.brushed));
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_3D, field.texture);
    for (const [unit, texture] of [this.marks, this.values, this.map].entries()) {
      gl.activeTexture(gl.TEXTURE1 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
    }
    return spanned;
  }
}
