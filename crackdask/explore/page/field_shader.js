// The program that draws the whole field in space: each pixel is a ray that goes from voxel to voxel until it meets a particle.
// @ts-check

import { compiled, OWN_COLOUR, RAY, SPACE } from "./shaders.js";

const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
precision highp usampler3D;
uniform usampler3D label;
uniform usampler2D marks;             // of each label, 1: meets the filters, 2: and is brushed
uniform sampler2D values, colours;    // values: a column by label
uniform vec3 shape;                   // of the field: voxels along x, y, z
uniform vec2 range;
uniform int wide;
uniform uint picked;
uniform bool coloured, brushed, telling;  // telling: labels as colours, to find what is under the mouse
out vec4 seen;

const float NOTHING = -3e38;
const int MOST = 3100;
const vec3 PICKED = vec3(1.0, 0.25, 0.5);
${RAY}${OWN_COLOUR}
ivec2 place(uint id) { return ivec2(int(id) % wide, int(id) / wide); }
uint at(ivec3 cell) { return texelFetch(label, cell, 0).r; }

bool shown(uint id) {
  if (id == 0u) return false;
  if (id == picked) return true;
  uint mark = texelFetch(marks, place(id), 0).r;
  if (mark == 0u || (brushed && mark < 2u)) return false;
  return !coloured || texelFetch(values, place(id), 0).r > NOTHING;
}

vec3 paint(uint id) {
  if (id == picked) return PICKED;
  if (!coloured) return own(id);
  float along = clamp((texelFetch(values, place(id), 0).r - range.x) / max(range.y - range.x, 1e-30), 0.0, 1.0);
  return texelFetch(colours, ivec2(int(along * 255.0 + 0.5), 0), 0).rgb;
}

vec3 outwards(ivec3 cell, uint id) {  // from where the particle is to where it is not, in the voxels around
  vec3 found = vec3(0);
  ivec3 last = ivec3(shape) - 1;
  for (int k = 0; k < 27; k++) {
    ivec3 step = ivec3(k % 3, (k / 3) % 3, k / 9) - 1;
    ivec3 there = cell + step;
    bool same = all(equal(there, clamp(there, ivec3(0), last))) && at(there) == id;
    if (!same) found += vec3(step);
  }
  return found;
}

void main() {
  seen = vec4(0, 0, 0, telling ? 0 : 1);
  if (!met()) return;
  vec3 pace = way / (2.0 * extent) * shape;       // in voxels
  vec3 first = ((origin + way * enter) / (2.0 * extent) + 0.5) * shape;
  vec3 end = (high / (2.0 * extent) + 0.5) * shape;
  ivec3 last = min(ivec3(ceil(end)), ivec3(shape)) - 1;
  if (any(lessThan(last, ivec3(0)))) return;
  ivec3 cell = clamp(ivec3(floor(first + pace * 1e-5)), ivec3(0), last);
  ivec3 turn = ivec3(sign(pace));
  vec3 step = 1.0 / abs(pace);
  vec3 next = (vec3(cell) + max(vec3(turn), 0.0) - first) / pace;
  vec3 side = vec3(equal(near, vec3(enter)));
  bool face = cut > 0.0 && side[axis] > 0.0 && way[axis] < 0.0;
  float along = 0.0;
  for (int k = 0; k < MOST; k++) {
    uint id = at(cell);
    if (shown(id)) {
      if (telling) {
        seen = vec4(uvec4(id, id >> 8, id >> 16, id >> 24) & 255u) / 255.0;
        return;
      }
      vec3 lamp = normalize(towards + 0.5 * up - 0.4 * right);
      vec3 normal = normalize(outwards(cell, id) - 0.6 * vec3(turn) * side + 1e-6);
      float light = face && k == 0 ? 0.95 : 0.3 + 0.7 * max(dot(normal, lamp), 0.0);
      float deep = along / max(leave - enter, 1e-6);
      seen = vec4(paint(id) * light * (1.0 - 0.3 * deep), 1);
      return;
    }
    if (next.x < next.y && next.x < next.z) { along = next.x; cell.x += turn.x; next.x += step.x; side = vec3(1, 0, 0); }
    else if (next.y < next.z) { along = next.y; cell.y += turn.y; next.y += step.y; side = vec3(0, 1, 0); }
    else { along = next.z; cell.z += turn.z; next.z += step.z; side = vec3(0, 0, 1); }
    if (any(lessThan(cell, ivec3(0))) || any(greaterThan(cell, last))) return;
  }
}`;

const UNIFORMS = [
  "label", "marks", "values", "colours", "shape", "extent", "right", "up", "towards", "across", "range", "cut", "axis", "wide", "picked",
  "coloured", "brushed", "telling",
];

/** @param {WebGL2RenderingContext} gl */
export const fieldProgram = (gl) => compiled(gl, SPACE, FRAGMENT, UNIFORMS);
