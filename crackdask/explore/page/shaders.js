// The programs that the graphics card runs: a tile of grey levels and labels becomes colours.
// @ts-check

const VERTEX = `#version 300 es
uniform vec4 place;   // of the tile in the picture: left, top, right, bottom, from -1 to 1
uniform vec2 size;    // of the tile in voxels: columns, rows
out vec2 voxel;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  voxel = corner * size;
  gl_Position = vec4(mix(place.xy, place.zw, corner), 0, 1);
}`;

/** Of programs that draw in space: a rectangle that fills the cell, each pixel of it a ray. */
export const SPACE = `#version 300 es
out vec2 screen;
void main() {
  screen = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
  gl_Position = vec4(screen, 0, 1);
}`;

/** Of programs that draw in space: where the ray of a pixel meets the box that is drawn. */
export const RAY = `
uniform vec3 extent;                  // half the lengths of the box along x, y, z
uniform vec3 right, up, towards;      // of the picture, and to who looks
uniform vec2 across;                  // half of what the picture spans
uniform float cut;                    // what share of the box is cut off
uniform int axis;                     // from the end of x, y or z
in vec2 screen;

vec3 origin, way, high, near;         // high: the end of the box, less what is cut off; near: where each side is met
float enter, leave;

bool met() {                          // false: the ray passes by
  origin = right * screen.x * across.x + up * screen.y * across.y + towards * 4.0;
  way = -towards + 1e-7;
  high = extent;
  high[axis] = extent[axis] * (1.0 - 2.0 * cut);
  vec3 a = (-extent - origin) / way, b = (high - origin) / way, far = max(a, b);
  near = min(a, b);
  enter = max(max(near.x, near.y), near.z);
  leave = min(min(far.x, far.y), far.z);
  return enter < leave;
}
`;

/** A colour by label, the same in planes and in space. */
export const OWN_COLOUR = `
vec3 own(uint id) {  // a colour for each label, neighbours in number far apart
  float turn = fract(float(id % 4096u) * 0.61803399) * 6.2831853;
  return 0.62 + 0.36 * cos(turn + vec3(0.0, 2.1, 4.2));
}
`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
uniform usampler2D grey, label, marks;  // marks: of each label, 1: meets the filters, 2: and is brushed
uniform sampler2D values, colours;      // values: a column by label
uniform vec2 window, range, size;
uniform float opacity, pixel;           // pixel: voxels of the tile that a pixel of the screen covers
uniform int mode, wide;                 // mode: 0 grey alone, 1 filled, 2 outlined; wide: labels in a row of values
uniform uint picked;
uniform bool coloured, brushed;
in vec2 voxel;
out vec4 seen;

const float NOTHING = -3e38;

ivec2 place(uint id) { return ivec2(int(id) % wide, int(id) / wide); }

${OWN_COLOUR}
uint at(vec2 where) {
  return texelFetch(label, ivec2(clamp(where, vec2(0), size - 1.0)), 0).r;
}

bool edge(uint id, float reach) {
  return at(voxel + vec2(reach, 0)) != id || at(voxel - vec2(reach, 0)) != id
      || at(voxel + vec2(0, reach)) != id || at(voxel - vec2(0, reach)) != id;
}

void main() {
  ivec2 here = ivec2(min(voxel, size - 1.0));
  float shade = clamp((float(texelFetch(grey, here, 0).r) - window.x) / max(window.y - window.x, 1e-6), 0.0, 1.0);
  vec3 colour = vec3(shade);
  uint id = texelFetch(label, here, 0).r;
  if (mode > 0 && id > 0u) {
    uint mark = texelFetch(marks, place(id), 0).r;
    vec3 paint = own(id);
    bool told = mark > 0u;
    if (coloured) {
      float value = texelFetch(values, place(id), 0).r;
      told = told && value > NOTHING;
      float along = clamp((value - range.x) / max(range.y - range.x, 1e-30), 0.0, 1.0);
      paint = texelFetch(colours, ivec2(int(along * 255.0 + 0.5), 0), 0).rgb;
    }
    float much = brushed && mark < 2u ? 0.2 * opacity : opacity;
    if (told && mode == 1) colour = mix(colour, paint * (0.45 + 0.55 * shade), much);
    if (told && mode == 2 && edge(id, 2.0 * pixel)) colour = mix(colour, paint, brushed && mark < 2u ? 0.35 : 1.0);
  }
  if (picked > 0u && id == picked && edge(id, 2.5 * pixel)) {
    colour = edge(id, 1.25 * pixel) ? vec3(1.0) : vec3(0.85, 0.1, 0.35);
  }
  seen = vec4(colour, 1);
}`;

const UNIFORMS = [
  "place", "size", "grey", "label", "marks", "values", "colours", "window", "range", "opacity", "pixel", "mode", "wide",
  "picked", "coloured", "brushed",
];

/** @param {WebGL2RenderingContext} gl */
export const tileProgram = (gl) => compiled(gl, VERTEX, FRAGMENT, UNIFORMS);

/**
 * Return a program, compiled, and where its uniforms are.
 * @param {WebGL2RenderingContext} gl
 * @param {string} vertex
 * @param {string} fragment
 * @param {string[]} uniforms
 */
export function compiled(gl, vertex, fragment, uniforms) {
  const program = gl.createProgram();
  for (const [kind, text] of /** @type {[number, string][]} */ ([[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]])) {
    const shader = /** @type {WebGLShader} */ (gl.createShader(kind));
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    throw new Error(`the graphics card refused the page's program: ${gl.getProgramInfoLog(program)}`);
  }
  const places = Object.fromEntries(uniforms.map((name) => [name, gl.getUniformLocation(program, name)]));
  return { program, places };
}

/** What stands for "no value" in a texture of values: comparisons with NaN differ between graphics cards. */
export const NOTHING = -3.4e38;
