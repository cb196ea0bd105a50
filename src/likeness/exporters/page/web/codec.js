// Opens what payload.py packed: base64 of gzip of a JSON header and arrays.

export async function unpack(base64) {
  const raw = Uint8Array.from(atob(base64.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("gzip"));
  return decode(await new Response(stream).arrayBuffer());
}

export function decode(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const model = { ...head };
  for (const [name, item] of Object.entries(head.arrays)) {
    model[name] = values(buffer, 4 + length + item.start, item);
  }
  model.shapes_of = Object.fromEntries(
    Object.entries(head.arrays).map(([name, item]) => [name, item.shape]),
  );
  return model;
}

function values(buffer, start, item) {
  const count = item.shape.reduce((a, b) => a * b, 1);
  if (item.kind === "f4") return new Float32Array(buffer, start, count);
  if (item.kind === "u4") return new Uint32Array(buffer, start, count);
  const steps = new Uint16Array(buffer, start, count);
  if (item.kind === "u2") return steps;
  const { low, step } = item;
  const columns = low.length;
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) out[i] = low[i % columns] + steps[i] * step[i % columns];
  return out;
}
