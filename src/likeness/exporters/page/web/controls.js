// The panel of sliders and the orbiting camera.
import { apply, fromTurns, lookAt, multiply } from "./algebra.js";

const FIELD = 0.36; // metres the picture shows at the distance of the head
const DISTANCE = 0.9;
const MIDDLE = [0, -0.03, -0.07]; // of the head, in its own frame
const PIVOT = [0, -0.1, -0.07]; // about which the head turns

// A label, and what full deflection means: coefficients when positive, and when negative.
const EXPRESSIONS = [
  ["Open jaw", { jawOpen: 1 }],
  ["Smile / frown", pair("mouthSmile"), pair("mouthFrown")],
  ["Pucker", { mouthPucker: 1 }],
  ["Funnel", { mouthFunnel: 1 }],
  ["Mouth aside", { mouthLeft: 1 }, { mouthRight: 1 }],
  ["Brows", { browInnerUp: 1, ...pair("browOuterUp") }, pair("browDown")],
  ["Blink / wide", pair("eyeBlink"), pair("eyeWide")],
  ["Squint", { ...pair("eyeSquint"), ...pair("cheekSquint") }],
  ["Sneer", pair("noseSneer")],
  ["Puff cheeks", { cheekPuff: 1 }],
];
const GAZE = [
  ["Gaze aside", { eyeLookOutLeft: 1, eyeLookInRight: 1 }, { eyeLookInLeft: 1, eyeLookOutRight: 1 }],
  ["Gaze up", pair("eyeLookUp"), pair("eyeLookDown")],
];
const HEAD = ["Turn", "Nod", "Tilt"];
const MOST_TURN = 0.6; // radians

function pair(name) {
  return { [`${name}Left`]: 1, [`${name}Right`]: 1 };
}

export function makePanel(document, panel, model, changed) {
  const state = { mixes: [], single: new Map(), turns: [0, 0, 0] };
  const heading = (text) => panel.append(Object.assign(document.createElement("h2"), { textContent: text }));
  const slider = (place, text, low, high, use) => {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), {
      type: "range", min: low, max: high, step: 0.01, value: 0, name: text,
    });
    input.addEventListener("input", () => { use(Number(input.value)); changed(); });
    input.addEventListener("dblclick", () => { input.value = 0; use(0); changed(); });
    label.append(text, input);
    place.append(label);
  };
  const mixes = (list) => list.forEach(([text, up, down]) => {
    const mix = { up, down, value: 0 };
    state.mixes.push(mix);
    slider(panel, text, down ? -1 : 0, 1, (value) => { mix.value = value; });
  });
  heading("Expression");
  mixes(EXPRESSIONS.filter(([, up]) => Object.keys(up).some((n) => model.shape_names.includes(n))));
  heading("Gaze");
  mixes(GAZE);
  heading("Head");
  HEAD.forEach((text, i) => slider(panel, text, -MOST_TURN, MOST_TURN, (v) => { state.turns[i] = v; }));
  const all = document.createElement("details");
  all.append(Object.assign(document.createElement("summary"), { textContent: "All coefficients" }));
  model.shape_names.forEach((name, i) => slider(all, name, 0, 1, (v) => state.single.set(i, v)));
  const reset = Object.assign(document.createElement("button"), { textContent: "Reset", type: "button" });
  reset.addEventListener("click", () => {
    panel.querySelectorAll("input").forEach((input) => { input.value = 0; });
    state.mixes.forEach((mix) => { mix.value = 0; });
    state.single.clear();
    state.turns.fill(0);
    changed();
  });
  panel.append(all, reset);
  return state;
}

// What the sliders add to an expression.
export function withSliders(model, state, expression) {
  const coefficients = Float32Array.from(expression.coefficients);
  for (const { up, down, value } of state.mixes) {
    const [part, weight] = value >= 0 ? [up, value] : [down ?? {}, -value];
    for (const [name, share] of Object.entries(part)) {
      const place = model.shape_names.indexOf(name);
      if (place >= 0) coefficients[place] += weight * share;
    }
  }
  for (const [place, value] of state.single) coefficients[place] += value;
  for (let i = 0; i < coefficients.length; i++) coefficients[i] = Math.min(Math.max(coefficients[i], -1), 1.5);
  return { ...expression, coefficients, head: turnedHead(expression.head, state.turns) };
}

function turnedHead(head, [yaw, pitch, roll]) {
  if (!yaw && !pitch && !roll) return head;
  const turn = fromTurns(yaw, pitch, roll);
  const moved = apply(turn, PIVOT);
  turn[3] = PIVOT[0] - moved[0];
  turn[7] = PIVOT[1] - moved[1];
  turn[11] = PIVOT[2] - moved[2];
  return multiply(head, turn);
}

export function makeOrbit(canvas, model, changed) {
  const orbit = { yaw: 0, pitch: 0, zoom: 1 };
  const pointers = new Map();
  let spread = 0;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    spread = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    pointers.set(event.pointerId, now);
    if (pointers.size === 1) {
      orbit.yaw = clamp(orbit.yaw - (now[0] - before[0]) * 0.006, 1.4);
      orbit.pitch = clamp(orbit.pitch + (now[1] - before[1]) * 0.006, 1.2);
    } else {
      const [a, b] = [...pointers.values()];
      const apart = Math.hypot(a[0] - b[0], a[1] - b[1]);
      if (spread) zoomBy(apart / spread);
      spread = apart;
    }
    changed();
  });
  const lift = (event) => pointers.delete(event.pointerId);
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY * 0.0015));
    changed();
  }, { passive: false });
  canvas.addEventListener("dblclick", () => {
    Object.assign(orbit, { yaw: 0, pitch: 0, zoom: 1 });
    changed();
  });
  const zoomBy = (factor) => { orbit.zoom = Math.min(Math.max(orbit.zoom * factor, 0.4), 6); };
  return orbit;
}

function clamp(value, most) {
  return Math.min(Math.max(value, -most), most);
}

// The same portrait as `likeness render`, turned by yaw and pitch about the head at rest.
export function portrait(model, orbit, width, height) {
  const head = Array.from(model.rest_head);
  const target = apply(head, MIDDLE);
  const [a, b] = [orbit.yaw, orbit.pitch];
  const aside = [Math.sin(a) * Math.cos(b), Math.sin(b), Math.cos(a) * Math.cos(b)];
  const eye = [0, 4, 8].map((r, i) =>
    target[i] + DISTANCE * (head[r] * aside[0] + head[r + 1] * aside[1] + head[r + 2] * aside[2]));
  const focal = (Math.min(width, height) * DISTANCE * orbit.zoom) / FIELD;
  return { pose: lookAt(eye, target, [0, 1, 0]), fx: focal, fy: focal, cx: width / 2, cy: height / 2 };
}
