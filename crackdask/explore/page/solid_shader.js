// The program that draws a particle in space: each pixel is a ray that goes through its box of voxels.
// @ts-check

import { compiled, RAY, SPACE } from "./shaders.js";

const FRAGMENT = `#version 300 es
precision highp float;
precision highp sampler3D;
uniform sampler3D voxels;             // red: grey level, from levels.x to levels.y; green: whether it is the particle's;
                                      // blue: whether it is a crack; alpha: and of the skeleton
uniform vec3 shape;                   // of the box: voxels along x, y, z
uniform vec2 levels, window;
uniform float surface, dark;
uniform bool measured;                // cracks are those of the store, not what is dark
out vec4 seen;

const int MOST = 400;
const vec3 CRACK = vec3(1.0, 0.55, 0.1), SKELETON = vec3(0.35, 0.85, 1.0);
const float THIN = 0.35;  // of a voxel: so that lines and sheets of one voxel hang together
${RAY}
vec4 at(vec3 place) { return texture(voxels, place); }
float grey(vec3 place) { return mix(levels.x, levels.y, at(place).r); }
float shade(vec3 place) { return clamp((grey(place) - window.x) / max(window.y - window.x, 1e-6), 0.0, 1.0); }

vec3 slope(vec3 place, int part) {
  vec3 d = 1.0 / shape, found;
  for (int k = 0; k < 3; k++) {
    vec3 e = vec3(0);
    e[k] = d[k];
    found[k] = (at(place + e)[part] - at(place - e)[part]) * 0.5 / (extent[k] * d[k]);
  }
  return found;
}

bool inside(vec3 place) {  // two voxels deep: the outermost ones are darkened by what lies beside the particle
  vec3 d = 2.0 / shape;
  for (int k = 0; k < 3; k++) {
    vec3 e = vec3(0);
    e[k] = d[k];
    if (at(place + e).g < 0.5 || at(place - e).g < 0.5) return false;
  }
  return true;
}

float lit(vec3 normal) { return 0.45 + 0.55 * abs(dot(normalize(normal + 1e-9), towards)); }

void main() {
  seen = vec4(0, 0, 0, 1);
  if (!met()) return;
  bool face = cut > 0.0 && near[axis] == enter && way[axis] < 0.0;
  float pace = 0.6 * min(min(extent.x / shape.x, extent.y / shape.y), extent.z / shape.z) * 2.0;
  vec3 colour = vec3(0);
  float left = 1.0;       // how much of what lies behind is seen
  bool was = false, cracked = false;
  for (int k = 0; k < MOST; k++) {
    float along = enter + (float(k) + 0.01) * pace;
    if (along > leave || left < 0.02) break;
    vec3 place = (origin + way * along) / (2.0 * extent) + 0.5;
    bool own = at(place).g >= 0.5;
    if (own && k == 0 && face) {
      bool crack = measured ? at(place).b >= 0.5 : grey(place) < dark && inside(place);
      colour = measured && at(place).a >= 0.5 ? SKELETON : crack ? CRACK : vec3(shade(place));
      left = 0.0;
      break;
    }
    if (own && !was) {
      vec3 normal = slope(place, 1);
      vec3 below = place + 2.0 * normalize(normal + 1e-9) / shape;
      colour += left * surface * vec3(0.25 + 0.75 * shade(below)) * lit(normal);
      left *= 1.0 - surface;
    }
    was = own;
    if (measured) {
      vec4 here = at(place);
      if (here.a >= THIN) {
        colour += left * SKELETON * lit(slope(place, 3));
        left = 0.0;
      } else if (here.b >= THIN && !cracked) {
        colour += left * 0.5 * CRACK * lit(slope(place, 2));
        left *= 0.5;
      }
      cracked = here.b >= THIN;
    } else if (own && grey(place) < dark && inside(place)) {
      colour += left * CRACK * lit(slope(place, 0));
      left = 0.0;
    }
  }
  seen = vec4(colour, 1);
}`;

const UNIFORMS = [
  "voxels", "shape", "extent", "right", "up", "towards", "levels", "window", "across", "surface", "dark", "cut", "axis",
  "measured",
];

/** @param {WebGL2RenderingContext} gl */
export const solidProgram = (gl) => compiled(gl, SPACE, FRAGMENT, UNIFORMS);
