// Rigid motions as 16 numbers, row by row; quaternions are w, x, y, z. The same formulas as
// likeness.core.geometry.

export const IDENTITY = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];

export function multiply(a, b) {
  const out = new Array(16);
  for (let r = 0; r < 4; r++) {
    for (let c = 0; c < 4; c++) {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += a[4 * r + k] * b[4 * k + c];
      out[4 * r + c] = sum;
    }
  }
  return out;
}

export function inverse(m) {
  const out = [m[0], m[4], m[8], 0, m[1], m[5], m[9], 0, m[2], m[6], m[10], 0, 0, 0, 0, 1];
  for (let r = 0; r < 3; r++) {
    out[4 * r + 3] = -(out[4 * r] * m[3] + out[4 * r + 1] * m[7] + out[4 * r + 2] * m[11]);
  }
  return out;
}

export function apply(m, p) {
  return [0, 4, 8].map((r) => m[r] * p[0] + m[r + 1] * p[1] + m[r + 2] * p[2] + m[r + 3]);
}

function squareOf(v) {
  return v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
}

// a * [v]x + b * [v]x^2 + identity, as nine numbers.
function series(v, a, b) {
  const [x, y, z] = v;
  return [
    1 - b * (y * y + z * z), b * x * y - a * z, b * x * z + a * y,
    b * x * y + a * z, 1 - b * (x * x + z * z), b * y * z - a * x,
    b * x * z - a * y, b * y * z + a * x, 1 - b * (x * x + y * y),
  ];
}

export function fromAxisAngle(v, translation = [0, 0, 0]) {
  const square = squareOf(v);
  const angle = Math.sqrt(square);
  const small = square < 1e-8;
  const a = small ? 1 - square / 6 : Math.sin(angle) / angle;
  const b = small ? 0.5 - square / 24 : (1 - Math.cos(angle)) / square;
  const m = series(v, a, b);
  const [x, y, z] = translation;
  return [m[0], m[1], m[2], x, m[3], m[4], m[5], y, m[6], m[7], m[8], z, 0, 0, 0, 1];
}

// The motion of a unit of time: angular velocity first, then velocity.
export function exponential(v) {
  const turn = [v[0], v[1], v[2]];
  const square = squareOf(turn);
  const angle = Math.sqrt(square);
  const small = square < 1e-8;
  const b = small ? 0.5 - square / 24 : (1 - Math.cos(angle)) / square;
  const c = small ? 1 / 6 - square / 120 : (angle - Math.sin(angle)) / (square * angle);
  const left = series(turn, b, c);
  const shift = [0, 3, 6].map((r) => left[r] * v[3] + left[r + 1] * v[4] + left[r + 2] * v[5]);
  return fromAxisAngle(turn, shift);
}

// Unit quaternion with w >= 0 of the rotation in a motion.
export function quaternion(m) {
  const [a, b, c] = [m[0], m[5], m[10]];
  const squares = [1 + a + b + c, 1 + a - b - c, 1 - a + b - c, 1 - a - b + c];
  let q;
  switch (squares.indexOf(Math.max(...squares))) {
    case 0: q = [squares[0], m[9] - m[6], m[2] - m[8], m[4] - m[1]]; break;
    case 1: q = [m[9] - m[6], squares[1], m[1] + m[4], m[2] + m[8]]; break;
    case 2: q = [m[2] - m[8], m[1] + m[4], squares[2], m[6] + m[9]]; break;
    default: q = [m[4] - m[1], m[2] + m[8], m[6] + m[9], squares[3]];
  }
  const size = Math.hypot(...q) * (q[0] < 0 ? -1 : 1);
  return q.map((value) => value / size);
}

export function axisAngle(m) {
  const [w, x, y, z] = quaternion(m);
  const sine = Math.hypot(x, y, z);
  const factor = sine < 1e-6 ? 2 / Math.max(w, 0.5) : (2 * Math.atan2(sine, w)) / sine;
  return [factor * x, factor * y, factor * z];
}

// Yaw about y, then pitch about the turned x, then roll about the turned z.
export function fromTurns(yaw, pitch, roll) {
  const turned = multiply(fromAxisAngle([0, yaw, 0]), fromAxisAngle([pitch, 0, 0]));
  return multiply(turned, fromAxisAngle([0, 0, roll]));
}

// camera_from_world with OpenCV axes: x right, y down, z forward.
export function lookAt(eye, target, up) {
  const forward = unit(target.map((value, i) => value - eye[i]));
  const right = unit(cross(forward, up));
  const down = cross(forward, right);
  const rows = [right, down, forward].map((row) => [
    ...row, -(row[0] * eye[0] + row[1] * eye[1] + row[2] * eye[2]),
  ]);
  return [...rows.flat(), 0, 0, 0, 1];
}

export function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

export function unit(v) {
  const size = Math.hypot(...v) || 1;
  return v.map((value) => value / size);
}

// Where the camera of a pose (camera from world) stands.
export function eyeOf(pose) {
  return [0, 1, 2].map((k) => -(pose[k] * pose[3] + pose[4 + k] * pose[7] + pose[8 + k] * pose[11]));
}
