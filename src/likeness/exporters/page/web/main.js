// Ties the parts together: open the model, draw when something changed, play the motion.
import { unpack } from "./codec.js";
import { eyeOf } from "./algebra.js";
import { neutral, pose, prepare } from "./animate.js";
import { draw, makeScreen } from "./draw.js";
import { packedMotion, readMotion } from "./motion.js";
import { makeOrbit, makePanel, portrait, withSliders } from "./controls.js";

const GROUND = [0.5, 0.5, 0.5];
const SLOW = 70; // milliseconds between frames; slower for a while, and the picture gets coarser
const COARSEST = 0.35;

export async function start(document) {
  const message = document.getElementById("message");
  try {
    const began = performance.now();
    const viewer = await makeViewer(document);
    viewer.frame();
    viewer.ready = performance.now() - began;
    document.defaultView.likeness = viewer;
    message.textContent = "";
  } catch (error) {
    message.textContent = error.message;
  }
}

async function makeViewer(document) {
  const model = await unpack(document.getElementById("model").textContent);
  const canvas = document.getElementById("view");
  const work = prepare(model);
  const screen = makeScreen(canvas, model.count);
  const viewer = { model, work, screen, motion: packedMotion(model), time: 0, playing: false, detail: 1 };
  let asked = false;
  const ask = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame((now) => { asked = false; step(now); });
  };
  const sliders = makePanel(document, document.getElementById("panel"), model, ask);
  const orbit = makeOrbit(canvas, model, ask);
  const bar = playBar(document, viewer, ask);
  viewer.show = (expression, camera, ground = GROUND) =>
    draw(screen, pose(model, work, expression, eyeOf(camera.pose)), camera, ground);
  viewer.frame = () => {
    fit(canvas, viewer.detail);
    const base = viewer.motion.frames > 1 || viewer.dropped ? current(viewer) : neutral(model);
    viewer.show(withSliders(model, sliders, base), portrait(model, orbit, canvas.width, canvas.height));
  };
  let last = 0;
  let slow = 0;
  const step = (now) => {
    slow = viewer.playing && now - last > SLOW ? slow + 1 : 0;
    if (slow > 3 && viewer.detail > COARSEST) {
      viewer.detail = Math.max(viewer.detail * 0.7, COARSEST);
      slow = 0;
    }
    if (viewer.playing) {
      const length = viewer.motion.frames / viewer.motion.fps;
      const passed = Math.min(Math.max(now - last, 0), 250); // a frame may be dated before its request
      viewer.time = (viewer.time + passed / 1000) % length;
      bar.update();
    }
    last = now;
    viewer.frame();
    if (viewer.playing) ask();
  };
  viewer.begin = () => { last = performance.now(); ask(); };
  dropping(document, viewer, bar, ask);
  new ResizeObserver(ask).observe(canvas);
  return viewer;
}

function current(viewer) {
  const frame = Math.floor(viewer.time * viewer.motion.fps + 1e-6);
  return viewer.motion.expression(Math.min(frame, viewer.motion.frames - 1));
}

function fit(canvas, detail) {
  const scale = Math.min(globalThis.devicePixelRatio || 1, 2) * detail;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((v) => Math.max(Math.round(v * scale), 1));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
}

function playBar(document, viewer, ask) {
  const [bar, play, time, clock] = ["bar", "play", "time", "clock"].map((id) => document.getElementById(id));
  const update = () => {
    const length = viewer.motion.frames / viewer.motion.fps;
    bar.hidden = viewer.motion.frames < 2;
    time.max = length;
    time.value = viewer.time;
    play.textContent = viewer.playing ? "Pause" : "Play";
    clock.textContent = `${viewer.time.toFixed(1)} / ${length.toFixed(1)} s`;
  };
  play.addEventListener("click", () => {
    viewer.playing = !viewer.playing;
    update();
    viewer.begin();
  });
  time.addEventListener("input", () => {
    viewer.time = Number(time.value);
    viewer.playing = false;
    update();
    ask();
  });
  update();
  return { update };
}

function dropping(document, viewer, bar, ask) {
  const message = document.getElementById("message");
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    const file = event.dataTransfer.files[0];
    if (!file) return;
    try {
      const motion = readMotion(viewer.model, file.name, await file.text());
      Object.assign(viewer, { motion, dropped: true, time: 0, playing: motion.frames > 1 });
      message.textContent = "";
      bar.update();
      viewer.begin();
      ask();
    } catch (error) {
      message.textContent = `${file.name}: ${error.message}`;
    }
  });
}
