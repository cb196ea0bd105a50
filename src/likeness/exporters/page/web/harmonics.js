// Real spherical harmonics of degrees 1 to 3, as likeness.ops.harmonics has them.

// The first `rows` of them along a unit direction, into `out`.
export function harmonics(x, y, z, rows, out) {
  const [xx, yy, zz] = [x * x, y * y, z * z];
  out[0] = -0.4886025119029199 * y;
  out[1] = 0.4886025119029199 * z;
  out[2] = -0.4886025119029199 * x;
  if (rows < 8) return;
  out[3] = 1.0925484305920792 * x * y;
  out[4] = -1.0925484305920792 * y * z;
  out[5] = 0.31539156525252005 * (3 * zz - 1);
  out[6] = -1.0925484305920792 * x * z;
  out[7] = 0.5462742152960396 * (xx - yy);
  if (rows < 15) return;
  out[8] = -0.5900435899266435 * y * (3 * xx - yy);
  out[9] = 2.890611442640554 * x * y * z;
  out[10] = 0.4570457994644658 * y * (1 - 5 * zz);
  out[11] = 0.3731763325901154 * z * (5 * zz - 3);
  out[12] = 0.4570457994644658 * x * (1 - 5 * zz);
  out[13] = 1.445305721320277 * z * (xx - yy);
  out[14] = -0.5900435899266435 * x * (xx - 3 * yy);
}
