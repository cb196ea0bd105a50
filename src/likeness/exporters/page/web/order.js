// The order in which splats are drawn: farthest first, by a counting sort of their depth.
import { STRIDE } from "./animate.js";

const BINS = 65536;
const counts = new Uint32Array(BINS + 1);

// `out` gets the indices; what is nearer than `near` comes last and is not counted in the result.
export function farthestFirst(splats, camera, near, out, keys) {
  const count = out.length;
  const [a, b, c, d] = camera.slice(8, 12); // the row that gives depth
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < count; i++) {
    const at = STRIDE * i;
    const z = a * splats[at] + b * splats[at + 1] + c * splats[at + 2] + d;
    keys[i] = z;
    if (z > near && z < low) low = z;
    if (z > near && z > high) high = z;
  }
  if (high < low) return 0;
  counts.fill(0);
  const scale = (BINS - 2) / Math.max(high - low, 1e-9);
  const bin = (z) => (z > near ? BINS - 2 - Math.floor((z - low) * scale) : BINS - 1);
  for (let i = 0; i < count; i++) counts[bin(keys[i]) + 1]++;
  const drawn = count - counts[BINS];
  for (let k = 1; k <= BINS; k++) counts[k] += counts[k - 1];
  for (let i = 0; i < count; i++) out[counts[bin(keys[i])]++] = i;
  return drawn;
}
