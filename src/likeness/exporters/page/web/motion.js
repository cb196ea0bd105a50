// Recorded motions: the one packed with the page, and files dropped on it.
import { fromTurns, multiply } from "./algebra.js";
import { neutral } from "./animate.js";

// The packed motion, or null when the page holds a single moment.
export function packedMotion(model) {
  const frames = model.shapes_of.play_coefficients[0];
  const row = (name, i, width) =>
    model[name] ? Array.from(model[name].subarray(i * width, (i + 1) * width)) : null;
  const expression = (i) => ({
    coefficients: Float32Array.from(row("play_coefficients", i, model.shape_names.length)),
    joints: Float32Array.from(row("play_joints", i, 3 * model.joint_names.length)),
    head: row("play_world_from_head", i, 16),
    torso: row("play_world_from_torso", i, 16),
    personal: modesOf(model, i, row, "play_personal", model.personal),
    clothes: modesOf(model, i, row, "play_torso", model.bends),
  });
  return { frames, fps: model.fps, expression };
}

// Modes of one person's face or clothes; another person's mean nothing here.
function modesOf(model, i, row, name, wanted) {
  if (!wanted || !model[name]) return null;
  const width = model.shapes_of[name][1];
  return width === wanted ? Float32Array.from(row(name, i, width)) : null;
}

// A motion out of the text of a dropped file: our JSON, or the phone app's CSV.
export function readMotion(model, name, text) {
  return name.toLowerCase().endsWith(".csv") ? readCsv(model, text) : readJson(model, text);
}

function readJson(model, text) {
  const data = JSON.parse(text);
  if (!Array.isArray(data.shape_names) || !Array.isArray(data.coefficients)) {
    throw new Error("This JSON is no motion: it lacks shape_names and coefficients.");
  }
  const places = data.shape_names.map((shape) => model.shape_names.indexOf(shape));
  const expression = (i) => {
    const made = neutral(model);
    data.coefficients[i].forEach((value, k) => {
      if (places[k] >= 0) made.coefficients[places[k]] = value;
    });
    if (data.joints?.[i]?.length === made.joints.length) made.joints.set(data.joints[i]);
    if (data.world_from_head) made.head = relative(model, data.world_from_head[0], data.world_from_head[i]);
    return made;
  };
  return { frames: data.coefficients.length, fps: data.fps || 30, expression };
}

// The turn of a frame against the first one, put on the head at rest.
function relative(model, first, now) {
  const turn = (m) => [m[0], m[1], m[2], 0, m[4], m[5], m[6], 0, m[8], m[9], m[10], 0, 0, 0, 0, 1];
  const back = (m) => [m[0], m[4], m[8], 0, m[1], m[5], m[9], 0, m[2], m[6], m[10], 0, 0, 0, 0, 1];
  return multiply(Array.from(model.rest_head), multiply(back(first), turn(now)));
}

function readCsv(model, text) {
  const [header, ...rows] = text.trim().split(/\r?\n/).map((line) => line.split(","));
  const shapes = header.map((name) => model.shape_names.indexOf(name[0].toLowerCase() + name.slice(1)));
  if (!shapes.some((place) => place >= 0)) throw new Error("This CSV has none of the 52 ARKit columns.");
  const turns = ["HeadYaw", "HeadPitch", "HeadRoll"].map((name) => header.indexOf(name));
  const expression = (i) => {
    const made = neutral(model);
    shapes.forEach((place, k) => {
      if (place >= 0) made.coefficients[place] = Number(rows[i][k]) || 0;
    });
    const angles = turns.map((k) => (k < 0 ? 0 : Number(rows[i][k]) || 0));
    made.head = multiply(made.head, fromTurns(...angles));
    return made;
  };
  return { frames: rows.length, fps: rateOf(header, rows), expression };
}

function rateOf(header, rows) {
  const column = header.indexOf("Timecode");
  if (column < 0) return 60;
  const frames = rows.map((row) => Math.floor(Number(row[column].split(":")[3])));
  const most = Math.max(...frames) + 1;
  return Number.isFinite(most) && rows.length > most ? most : 60;
}
