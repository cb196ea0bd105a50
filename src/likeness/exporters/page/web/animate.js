// From an expression to splats in the world: what the avatar does in Python, evaluated here.
import { harmonics } from "./harmonics.js";
import { IDENTITY, multiply, inverse, fromAxisAngle, exponential, quaternion, axisAngle } from "./algebra.js";

const TURN = 3; // how a radian of head or torso counts among the features
const SHIFT = 5; // and a metre of the torso against the head
export const STRIDE = 16; // numbers a splat: place, opacity; rotation; scale, facing; colour, facing
const EVERYWHERE = 9; // in place of where a splat faces, for those that are seen from every side

// Buffers that are filled anew for every moment, and the shapes with their zeros left out.
export function prepare(model) {
  const vertices = model.template.length / 3;
  return {
    shapes: sparseShapes(model, vertices),
    skinned: skinnedVertices(model, vertices),
    vertices: new Float32Array(model.template.length + 9),
    motion: new Float32Array(model.shapes_of.motion_atlas[1]),
    shade: new Float32Array(model.shapes_of.shade_atlas[1]),
    splats: new Float32Array(model.count * STRIDE),
  };
}

export function neutral(model) {
  return {
    coefficients: new Float32Array(model.shape_names.length),
    joints: new Float32Array(3 * model.joint_names.length),
    head: Array.from(model.rest_head),
    torso: multiply(Array.from(model.rest_head), Array.from(model.rest_torso)),
    personal: null,
    clothes: null,
  };
}

// Fills `work.splats` for one expression, in the colours that an `eye` sees, where one is given.
export function pose(model, work, expression, eye = null) {
  const seen = features(model, expression);
  const correction = linear(seen, model.regression_mean, model.regression_weights,
    model.regression_bias, model.regression_low, model.regression_high);
  const moved = corrected(model, expression, correction);
  const code = linear(seen, model.code_mean, model.code_directions, null,
    model.code_low, model.code_high);
  mix(work.motion, code, model.motion_atlas, model.bends);
  mix(work.shade, code, model.shade_atlas, model.bends);
  shapeVertices(model, work, moved);
  const { head } = moved;
  const torso = multiply(head, multiply(torsoInHead(moved), inverse(model.rest_torso)));
  carry(model, work, head, torso);
  if (eye && model.gleam) gleam(model, work.splats, head, torso, eye);
  return work.splats;
}

export function torsoInHead(expression) {
  return expression.torso ? multiply(inverse(expression.head), expression.torso) : IDENTITY;
}

export function features(model, expression) {
  const modes = expression.personal ?? new Float32Array(model.personal);
  const turn = axisAngle(multiply(inverse(model.rest_head), expression.head));
  const torso = multiply(torsoInHead(expression), inverse(model.rest_torso));
  return Float64Array.from([
    ...expression.coefficients, ...modes, ...expression.joints,
    ...turn.map((value) => TURN * value),
    ...axisAngle(torso).map((value) => TURN * value),
    SHIFT * torso[3], SHIFT * torso[7], SHIFT * torso[11],
    ...(expression.clothes ?? new Float32Array(model.bends)),
  ]);
}

// (values - mean) times a matrix, plus a bias, held within what training showed.
function linear(values, mean, matrix, bias, low, high) {
  const width = low.length;
  const out = bias ? Float64Array.from(bias) : new Float64Array(width);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] - mean[i];
    if (value === 0) continue;
    for (let j = 0; j < width; j++) out[j] += value * matrix[i * width + j];
  }
  for (let j = 0; j < width; j++) out[j] = Math.max(Math.min(out[j], high[j]), low[j]);
  return out;
}

function corrected(model, expression, by) {
  const codes = expression.coefficients.length;
  return {
    joints: expression.joints,
    head: multiply(expression.head, exponential(by)),
    torso: multiply(expression.torso ?? expression.head, exponential(by.slice(-6))),
    coefficients: expression.coefficients.map((value, i) => value + by[6 + i]),
    clothes: expression.clothes,
    personal: expression.personal && expression.personal.map((v, i) => v + by[6 + codes + i]),
  };
}

// The atlas of a moment. The last numbers of a code say how clothes bend: no business of the head's
// tile, which is the first half.
function mix(out, code, atlas, bends) {
  out.fill(0);
  const own = code.length - bends;
  for (let k = 0; k < code.length; k++) {
    const weight = code[k];
    if (weight === 0) continue;
    const row = k * out.length;
    for (let i = k < own ? 0 : out.length / 2; i < out.length; i++) out[i] += weight * atlas[row + i];
  }
}

function sparseShapes(model, vertices) {
  const made = [];
  for (let e = 0; e < model.shapes_of.shapes[0]; e++) {
    const index = [];
    const values = [];
    for (let v = 0; v < vertices; v++) {
      const at = 3 * (e * vertices + v);
      const [x, y, z] = [model.shapes[at], model.shapes[at + 1], model.shapes[at + 2]];
      if (Math.abs(x) + Math.abs(y) + Math.abs(z) < 5e-6) continue;
      index.push(3 * v);
      values.push(x, y, z);
    }
    made.push({ index: Uint32Array.from(index), values: Float32Array.from(values) });
  }
  return made;
}

function skinnedVertices(model, vertices) {
  const joints = model.joint_names.length;
  const found = [];
  for (let v = 0; v < vertices; v++) {
    let total = 0;
    for (let j = 0; j < joints; j++) total += Math.abs(model.skin[v * joints + j]);
    if (total > 1e-4) found.push(v);
  }
  return Uint32Array.from(found);
}

function shapeVertices(model, work, expression) {
  const out = work.vertices;
  out.set(model.template);
  out.set([0, 0, 0, 1, 0, 0, 0, 1, 0], model.template.length); // the frame of the head itself
  const weights = [...expression.coefficients, ...(expression.personal ?? [])];
  weights.forEach((weight, e) => {
    if (weight === 0) return;
    const { index, values } = work.shapes[e];
    for (let i = 0; i < index.length; i++) {
      out[index[i]] += weight * values[3 * i];
      out[index[i] + 1] += weight * values[3 * i + 1];
      out[index[i] + 2] += weight * values[3 * i + 2];
    }
  });
  skin(model, work, jointMotions(model, expression));
}

function jointMotions(model, expression) {
  const joints = model.joint_names.length;
  const angles = Array.from(expression.joints);
  expression.coefficients.forEach((weight, e) => {
    for (let i = 0; i < 3 * joints; i++) angles[i] += weight * model.shape_joints[e * 3 * joints + i];
  });
  const motions = [];
  for (let j = 0; j < joints; j++) {
    const place = model.joints.subarray(3 * j, 3 * j + 3);
    const turn = fromAxisAngle(angles.slice(3 * j, 3 * j + 3));
    for (let r = 0; r < 3; r++) {
      turn[4 * r + 3] = place[r]
        - (turn[4 * r] * place[0] + turn[4 * r + 1] * place[1] + turn[4 * r + 2] * place[2]);
    }
    motions.push(model.parents[j] < 0 ? turn : multiply(motions[model.parents[j]], turn));
  }
  return motions;
}

function skin(model, work, motions) {
  const joints = motions.length;
  const out = work.vertices;
  for (const v of work.skinned) {
    const [x, y, z] = [out[3 * v], out[3 * v + 1], out[3 * v + 2]];
    for (let j = 0; j < joints; j++) {
      const weight = model.skin[v * joints + j];
      if (weight === 0) continue;
      const m = motions[j];
      for (let r = 0; r < 3; r++) {
        const moved = m[4 * r] * x + m[4 * r + 1] * y + m[4 * r + 2] * z + m[4 * r + 3];
        out[3 * v + r] += weight * (moved - (r === 0 ? x : r === 1 ? y : z));
      }
    }
  }
}

// The weighted sum of a splat's four cells of an atlas, channel by channel.
function drawn(atlas, model, i, channels, out) {
  for (let c = 0; c < channels; c++) out[c] = 0;
  for (let k = 4 * i; k < 4 * i + 4; k++) {
    const weight = model.cell_weights[k];
    const at = channels * model.cells[k];
    for (let c = 0; c < channels; c++) out[c] += weight * atlas[at + c];
  }
}

// Every splat from its triangle into the world, shaded. No allocation inside the loop.
function carry(model, work, head, torso) {
  const [qh, qt] = [quaternion(head), quaternion(torso)];
  const out = work.splats;
  const axes = new Float64Array(11);
  const place = new Float64Array(3);
  const shift = new Float64Array(3);
  const shade = new Float64Array(5);
  const turn = new Float64Array(4);
  for (let i = 0; i < model.count; i++) {
    triangle(model, work.vertices, i, axes, place);
    drawn(work.motion, model, i, 3, shift);
    drawn(work.shade, model, i, 5, shade);
    const follow = model.follow[i];
    const at = STRIDE * i;
    const x = place[0] + shift[0];
    const y = place[1] + shift[1];
    const z = place[2] + shift[2];
    for (let r = 0; r < 3; r++) {
      const k = 4 * r;
      const with_head = head[k] * x + head[k + 1] * y + head[k + 2] * z + head[k + 3];
      const with_torso = torso[k] * x + torso[k + 1] * y + torso[k + 2] * z + torso[k + 3];
      out[at + r] = with_torso + follow * (with_head - with_torso);
      out[at + 8 + r] = Math.exp(model.log_scale[3 * i + r] + shade[3]);
      out[at + 12 + r] = model.colour[3 * i + r] + shade[r];
    }
    out[at + 3] = 1 / (1 + Math.exp(-(model.opacity[i] + shade[4])));
    axesToQuaternion(axes, turn);
    hamilton(turn, 0, model.rotation, 4 * i, out, at + 4);
    for (let k = 0; k < 4; k++) turn[k] = qt[k] + follow * (qh[k] - qt[k]);
    hamilton(turn, 0, out, at + 4, out, at + 4);
    const flat = axes[0] === 1 && axes[10] === 1; // no triangle at all, so it faces nowhere
    if (model.closed[i] && !flat) facing(head, axes, out, at);
    else out[at + 11] = out[at + 15] = EVERYWHERE;
  }
}

// What colours gain where the eye sees them from, in the axes of what each splat goes with.
function gleam(model, out, head, torso, eye) {
  const rows = model.shapes_of.gleam[1];
  const basis = new Float64Array(rows);
  for (let i = 0; i < model.count; i++) {
    const at = STRIDE * i;
    const m = model.follow[i] > 0.5 ? head : torso;
    let [x, y, z] = [out[at] - eye[0], out[at + 1] - eye[1], out[at + 2] - eye[2]];
    const far = Math.hypot(x, y, z) || 1;
    [x, y, z] = [x / far, y / far, z / far];
    harmonics(m[0] * x + m[4] * y + m[8] * z, m[1] * x + m[5] * y + m[9] * z,
      m[2] * x + m[6] * y + m[10] * z, rows, basis);
    for (let k = 0; k < rows; k++) {
      for (let c = 0; c < 3; c++) out[at + 12 + c] += basis[k] * model.gleam[3 * (rows * i + k) + c];
    }
  }
}

// Where the splat's surface faces in the world, folded onto a square (an octahedron laid flat).
function facing(head, axes, out, at) {
  const [a, b, c] = [axes[2], axes[6], axes[10]];
  const x = head[0] * a + head[1] * b + head[2] * c;
  const y = head[4] * a + head[5] * b + head[6] * c;
  const z = head[8] * a + head[9] * b + head[10] * c;
  const size = Math.abs(x) + Math.abs(y) + Math.abs(z);
  const [u, v] = [x / size, y / size];
  out[at + 11] = z < 0 ? (1 - Math.abs(v)) * (u < 0 ? -1 : 1) : u;
  out[at + 15] = z < 0 ? (1 - Math.abs(u)) * (v < 0 ? -1 : 1) : v;
}

// The rotation b, then a; each four numbers from an offset on. `out` may be b.
function hamilton(a, i, b, j, out, k) {
  const [aw, ax, ay, az] = [a[i], a[i + 1], a[i + 2], a[i + 3]];
  const [bw, bx, by, bz] = [b[j], b[j + 1], b[j + 2], b[j + 3]];
  out[k] = aw * bw - ax * bx - ay * by - az * bz;
  out[k + 1] = aw * bx + ax * bw + ay * bz - az * by;
  out[k + 2] = aw * by - ax * bz + ay * bw + az * bx;
  out[k + 3] = aw * bz + ax * by - ay * bx + az * bw;
}

// As `quaternion`, without allocation and without a preferred sign: splats look alike either way.
function axesToQuaternion(m, q) {
  const ww = 1 + m[0] + m[5] + m[10];
  const xx = 1 + m[0] - m[5] - m[10];
  const yy = 1 - m[0] + m[5] - m[10];
  const zz = 1 - m[0] - m[5] + m[10];
  const [a, b, c] = [m[9] - m[6], m[2] - m[8], m[4] - m[1]];
  const [d, e, f] = [m[1] + m[4], m[2] + m[8], m[6] + m[9]];
  const best = Math.max(ww, xx, yy, zz);
  const size = 0.5 / Math.sqrt(best);
  if (best === ww) { q[0] = ww; q[1] = a; q[2] = b; q[3] = c; }
  else if (best === xx) { q[0] = a; q[1] = xx; q[2] = d; q[3] = e; }
  else if (best === yy) { q[0] = b; q[1] = d; q[2] = yy; q[3] = f; }
  else { q[0] = c; q[1] = e; q[2] = f; q[3] = zz; }
  for (let k = 0; k < 4; k++) q[k] *= size;
}

// Axes of a splat's triangle (first edge, in-plane normal, face normal; as columns) and its place.
function triangle(model, vertices, i, axes, place) {
  const a = 3 * model.corners[3 * i];
  const b = 3 * model.corners[3 * i + 1];
  const c = 3 * model.corners[3 * i + 2];
  const ex = vertices[b] - vertices[a];
  const ey = vertices[b + 1] - vertices[a + 1];
  const ez = vertices[b + 2] - vertices[a + 2];
  const sx = vertices[c] - vertices[a];
  const sy = vertices[c + 1] - vertices[a + 1];
  const sz = vertices[c + 2] - vertices[a + 2];
  let [nx, ny, nz] = [ey * sz - ez * sy, ez * sx - ex * sz, ex * sy - ey * sx];
  const square = nx * nx + ny * ny + nz * nz;
  const edges = ex * ex + ey * ey + ez * ez;
  let [fx, fy, fz] = [1, 0, 0];
  if (square <= 1e-10 * edges * (sx * sx + sy * sy + sz * sz) + 1e-30) {
    [nx, ny, nz] = [0, 0, 1];
  } else {
    const n = 1 / Math.sqrt(square);
    const f = 1 / Math.sqrt(edges);
    [nx, ny, nz, fx, fy, fz] = [nx * n, ny * n, nz * n, ex * f, ey * f, ez * f];
  }
  const [gx, gy, gz] = [ny * fz - nz * fy, nz * fx - nx * fz, nx * fy - ny * fx];
  axes[0] = fx; axes[1] = gx; axes[2] = nx;
  axes[4] = fy; axes[5] = gy; axes[6] = ny;
  axes[8] = fz; axes[9] = gz; axes[10] = nz;
  const [u, v, w] = [model.weights[3 * i], model.weights[3 * i + 1], model.weights[3 * i + 2]];
  const [p, q, r] = [model.offset[3 * i], model.offset[3 * i + 1], model.offset[3 * i + 2]];
  for (let k = 0; k < 3; k++) {
    place[k] = u * vertices[a + k] + v * vertices[b + k] + w * vertices[c + k]
      + axes[4 * k] * p + axes[4 * k + 1] * q + axes[4 * k + 2] * r;
  }
}
