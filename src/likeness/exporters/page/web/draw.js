// Splats on a WebGL2 canvas: one square each, blended from the back, as likeness.ops.splats does it.
import { eyeOf } from "./algebra.js";
import { STRIDE } from "./animate.js";
import { farthestFirst } from "./order.js";

const NEAR = 0.01;
const ACROSS = 512; // splats in a row of the texture that holds them
const TEXELS = STRIDE / 4;
const AWAY = [-0.4, -0.2]; // cosines to the eye: hidden below the first, all there above the second

const VERTEX = `#version 300 es
precision highp float;
precision highp usampler2D;
uniform sampler2D splats;
uniform usampler2D order; // which splat is drawn as the n-th
uniform mat4 pose;       // camera from world, OpenCV axes
uniform vec4 lens;       // fx, fy, cx, cy in pixels
uniform vec2 size;       // of the picture in pixels
uniform vec3 eye;        // where the camera stands
flat out vec3 conic;
flat out vec4 colour;
out vec2 away;

mat3 turned(vec4 q) {
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(1. - 2. * (y * y + z * z), 2. * (x * y + w * z), 2. * (x * z - w * y),
              2. * (x * y - w * z), 1. - 2. * (x * x + z * z), 2. * (y * z + w * x),
              2. * (x * z + w * y), 2. * (y * z - w * x), 1. - 2. * (x * x + y * y));
}

// How much of a splat is drawn that faces this way: a closed head is not looked through.
float shown_of(vec3 place, vec2 folded) {
  if (abs(folded.x) > 1.5) return 1.;
  vec3 normal = vec3(folded, 1. - abs(folded.x) - abs(folded.y));
  if (normal.z < 0.) normal.xy = (1. - abs(normal.yx)) * mix(vec2(-1.), vec2(1.), greaterThanEqual(normal.xy, vec2(0.)));
  return smoothstep(${AWAY[0].toFixed(2)}, ${AWAY[1].toFixed(2)}, dot(normalize(normal), normalize(eye - place)));
}

void main() {
  int n = gl_VertexID / 4;
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1 & 1) * 2. - 1.;
  int i = int(texelFetch(order, ivec2(n % ${ACROSS}, n / ${ACROSS}), 0).r);
  ivec2 at = ivec2((i % ${ACROSS}) * ${TEXELS}, i / ${ACROSS});
  vec4 place = texelFetch(splats, at, 0);
  vec4 turn = normalize(texelFetch(splats, at + ivec2(1, 0), 0));
  vec4 scale = texelFetch(splats, at + ivec2(2, 0), 0);
  vec4 paint = texelFetch(splats, at + ivec2(3, 0), 0);
  float opacity = place.w * shown_of(place.xyz, vec2(scale.w, paint.w));
  vec3 p = (pose * vec4(place.xyz, 1.)).xyz;
  vec2 reach = 1.3 * 0.5 * size / lens.xy;
  vec2 t = clamp(p.xy / p.z, -reach, reach);
  mat3 m = mat3(pose) * turned(turn) * mat3(scale.x, 0., 0., 0., scale.y, 0., 0., 0., scale.z);
  vec3 across = vec3(lens.x / p.z, 0., -lens.x * t.x / p.z) * m;
  vec3 down = vec3(0., lens.y / p.z, -lens.y * t.y / p.z) * m;
  float a = dot(across, across) + 0.3, b = dot(across, down), c = dot(down, down) + 0.3;
  float det = a * c - b * b;
  conic = vec3(c, -b, a) / det;
  colour = vec4(paint.rgb, opacity);
  float far = sqrt(max(2. * log(255. * opacity), 0.));
  away = corner * far * sqrt(vec2(a, c)); // the box around the ellipse where it still shows
  vec2 pixel = lens.xy * p.xy / p.z + lens.zw + away;
  bool shown = p.z > ${NEAR.toFixed(4)} && opacity > 1. / 255.;
  gl_Position = shown ? vec4(pixel.x / size.x * 2. - 1., 1. - pixel.y / size.y * 2., 0., 1.)
                      : vec4(2., 2., 2., 1.);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
flat in vec3 conic;
flat in vec4 colour;
in vec2 away;
out vec4 light;
void main() {
  float power = -0.5 * (conic.x * away.x * away.x + conic.z * away.y * away.y)
    - conic.y * away.x * away.y;
  float a = min(colour.a * exp(power), 0.99);
  if (power > 0. || a < 1. / 255.) discard;
  light = vec4(colour.rgb * a, a);
}`;

const COPY_VERTEX = `#version 300 es
in vec2 corner;
void main() { gl_Position = vec4(corner, 0., 1.); }`;

const COPY_FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D picture;
uniform vec3 ground;
out vec4 light;
void main() {
  vec4 seen = texelFetch(picture, ivec2(gl_FragCoord.xy), 0);
  light = vec4(clamp(seen.rgb, 0., 1.) + (1. - seen.a) * ground, 1.);
}`;

export function makeScreen(canvas, count) {
  const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, preserveDrawingBuffer: true });
  if (!gl) throw new Error("This browser has no WebGL2, so the head cannot be drawn.");
  const deep = gl.getExtension("EXT_color_buffer_float") || gl.getExtension("EXT_color_buffer_half_float");
  const screen = {
    gl, canvas, count,
    format: deep ? gl.RGBA16F : gl.RGBA8,
    splat: program(gl, VERTEX, FRAGMENT),
    copy: program(gl, COPY_VERTEX, COPY_FRAGMENT),
    rows: Math.ceil(count / ACROSS),
    order: new Uint32Array(Math.ceil(count / ACROSS) * ACROSS),
    keys: new Float32Array(count),
    frame: gl.createFramebuffer(),
    size: [0, 0],
  };
  screen.padded = new Float32Array(screen.rows * ACROSS * STRIDE);
  screen.table = texture(gl);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, ACROSS * TEXELS, screen.rows, 0, gl.RGBA, gl.FLOAT, null);
  screen.places = texture(gl);
  gl.texStorage2D(gl.TEXTURE_2D, 1, gl.R32UI, ACROSS, screen.rows);
  buffers(screen);
  return screen;
}

// Draws splats with a camera { pose, fx, fy, cx, cy } in pixels of the canvas.
export function draw(screen, splats, camera, ground) {
  const { gl, canvas } = screen;
  const drawn = farthestFirst(splats, camera.pose, NEAR, screen.order.subarray(0, screen.count), screen.keys);
  resize(screen);
  screen.padded.set(splats);
  gl.activeTexture(gl.TEXTURE0);
  gl.bindTexture(gl.TEXTURE_2D, screen.table);
  gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, ACROSS * TEXELS, screen.rows, gl.RGBA, gl.FLOAT, screen.padded);
  gl.activeTexture(gl.TEXTURE1);
  gl.bindTexture(gl.TEXTURE_2D, screen.places);
  gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, ACROSS, screen.rows, gl.RED_INTEGER, gl.UNSIGNED_INT, screen.order);
  gl.activeTexture(gl.TEXTURE0);
  gl.bindFramebuffer(gl.FRAMEBUFFER, screen.frame);
  gl.viewport(0, 0, canvas.width, canvas.height);
  gl.clearColor(0, 0, 0, 0);
  gl.clear(gl.COLOR_BUFFER_BIT);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  gl.useProgram(screen.splat);
  gl.bindVertexArray(screen.quads);
  gl.uniform1i(gl.getUniformLocation(screen.splat, "order"), 1);
  gl.uniformMatrix4fv(gl.getUniformLocation(screen.splat, "pose"), true, camera.pose);
  gl.uniform4f(gl.getUniformLocation(screen.splat, "lens"), camera.fx, camera.fy, camera.cx, camera.cy);
  gl.uniform2f(gl.getUniformLocation(screen.splat, "size"), canvas.width, canvas.height);
  gl.uniform3f(gl.getUniformLocation(screen.splat, "eye"), ...eyeOf(camera.pose));
  gl.drawElements(gl.TRIANGLES, 6 * drawn, gl.UNSIGNED_INT, 0);
  gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  gl.disable(gl.BLEND);
  gl.useProgram(screen.copy);
  gl.bindVertexArray(screen.whole);
  gl.bindTexture(gl.TEXTURE_2D, screen.picture);
  gl.uniform3f(gl.getUniformLocation(screen.copy, "ground"), ...ground);
  gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  gl.bindVertexArray(null);
}

function resize(screen) {
  const { gl, canvas } = screen;
  if (screen.size[0] === canvas.width && screen.size[1] === canvas.height) return;
  screen.size = [canvas.width, canvas.height];
  if (screen.picture) gl.deleteTexture(screen.picture);
  screen.picture = texture(gl);
  gl.texStorage2D(gl.TEXTURE_2D, 1, screen.format, canvas.width, canvas.height);
  gl.bindFramebuffer(gl.FRAMEBUFFER, screen.frame);
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, screen.picture, 0);
}

function texture(gl) {
  const made = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, made);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  return made;
}

// A square over the whole picture, and two triangles a splat whose corners the shader finds.
function buffers(screen) {
  const { gl } = screen;
  screen.whole = gl.createVertexArray();
  gl.bindVertexArray(screen.whole);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
  const place = gl.getAttribLocation(screen.copy, "corner");
  gl.enableVertexAttribArray(place);
  gl.vertexAttribPointer(place, 2, gl.FLOAT, false, 0, 0);
  screen.quads = gl.createVertexArray();
  gl.bindVertexArray(screen.quads);
  const indices = new Uint32Array(6 * screen.count);
  for (let n = 0; n < screen.count; n++) {
    [0, 1, 2, 2, 1, 3].forEach((corner, k) => { indices[6 * n + k] = 4 * n + corner; });
  }
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, indices, gl.STATIC_DRAW);
  gl.bindVertexArray(null);
}

function program(gl, vertex, fragment) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  return made;
}
