// Opens an exported page in headless Chromium, draws moments, uses its controls, and says how fast.
// node page.cjs JOB.json, with puppeteer-core in NODE_PATH; `benchmarks/page.py` writes the job.
const fs = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { withPage } = require("./browser.cjs");

const job = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const said = { problems: [], requests: [] };

async function main() {
  const viewport = { width: 1100, height: 760, hasTouch: true };
  await withPage(job.browser, viewport, (problem) => said.problems.push(problem), tried);
  fs.writeFileSync(path.join(job.out, "said.json"), JSON.stringify(said, null, 1));
}

async function tried(page) {
  page.on("request", (asked) => said.requests.push(asked.url().slice(0, 60)));
  const began = Date.now();
  await page.goto(pathToFileURL(job.page).href);
  await page.waitForFunction("globalThis.likeness?.ready", { timeout: 120000 });
  said.opened_ms = Date.now() - began;
  said.first_picture_ms = await page.evaluate("likeness.ready");
  said.footer = await page.$eval("footer", (element) => element.textContent);
  await page.screenshot({ path: path.join(job.out, "opened.png") });
  await controls(page);
  await playing(page);
  await dropped(page);
  for (const moment of job.moments) await drawn(page, moment);
}

// One moment from our own camera, as PNG.
async function drawn(page, moment) {
  const url = await page.evaluate(({ expression, camera, size }) => {
    const canvas = document.getElementById("view");
    Object.assign(canvas, { width: size, height: size });
    const typed = { ...expression };
    for (const name of ["coefficients", "joints", "personal", "clothes"]) {
      if (typed[name]) typed[name] = Float32Array.from(typed[name]);
    }
    likeness.show(typed, camera);
    return canvas.toDataURL();
  }, { ...moment, size: job.size });
  fs.writeFileSync(path.join(job.out, `page-${moment.name}.png`), Buffer.from(url.split(",")[1], "base64"));
}

// Sliders, orbit, wheel and a pinch change the picture; each is photographed.
async function controls(page) {
  const slide = (name, value) => page.$eval(`input[name="${name}"]`, (input, wanted) => {
    input.value = wanted;
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }, value);
  const shot = async (name) => {
    await page.evaluate("likeness.frame()");
    await page.screenshot({ path: path.join(job.out, `${name}.png`) });
  };
  for (const [name, value] of [["Open jaw", 0.8], ["Smile / frown", 0.9], ["Turn", 0.5], ["Gaze aside", 1], ["Blink / wide", 1]]) {
    await slide(name, value);
    await shot(`slider-${name.replaceAll(/\W+/g, "-").toLowerCase()}`);
    await slide(name, 0);
  }
  const box = await (await page.$("#view")).boundingBox();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.mouse.move(x, y);
  await page.mouse.down();
  await page.mouse.move(x + 100, y, { steps: 3 });
  await page.mouse.up();
  await page.mouse.wheel({ deltaY: -300 });
  await shot("orbited");
  const touch = await page.createCDPSession();
  const points = (apart) => [-apart, apart].map((d, id) => ({ x: x + d, y, id }));
  const send = (type, touchPoints) => touch.send("Input.dispatchTouchEvent", { type, touchPoints });
  await send("touchStart", points(40));
  for (const apart of [60, 90, 120]) await send("touchMove", points(apart));
  await send("touchEnd", []);
  await shot("pinched");
  await page.mouse.click(x, y, { count: 2 });
  await page.$$eval("#panel button", (buttons) => buttons.at(-1).click());
}

// Frames while the motion plays, each read back so that it is truly drawn.
async function playing(page) {
  if (await page.$eval("#bar", (bar) => bar.hidden)) return;
  await page.click("#play");
  said.playing = await page.$eval("#play", (button) => button.textContent);
  await new Promise((wait) => setTimeout(wait, 3000));
  said.clock = await page.$eval("#clock", (clock) => clock.textContent);
  await page.screenshot({ path: path.join(job.out, "playing.png") });
  await page.click("#play");
  said.frames = await page.evaluate(() => {
    const canvas = document.getElementById("view");
    const gl = canvas.getContext("webgl2");
    const measure = (scale) => {
      likeness.detail = scale;
      const spent = [];
      for (let i = 0; i < 6; i++) {
        likeness.time = i / likeness.motion.fps;
        const start = performance.now();
        likeness.frame();
        gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
        spent.push(performance.now() - start);
      }
      return { pixels: [canvas.width, canvas.height], ms: spent.map(Math.round) };
    };
    return [measure(1), measure(0.35)];
  });
  await page.evaluate(() => { likeness.detail = 1; });
}

// A motion dropped on the page plays; a file that is none is told by name.
async function dropped(page) {
  const drop = (name, text) => page.evaluate((title, content) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([content], title));
    document.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
    return new Promise((wait) => setTimeout(() => wait(document.getElementById("message").textContent), 700));
  }, name, text);
  said.drop = await drop("jaw.csv", "JawOpen,HeadYaw\n0.8,0.3\n0.8,0.3\n");
  said.dropped_frames = await page.evaluate("likeness.motion.frames");
  await page.screenshot({ path: path.join(job.out, "dropped.png") });
  said.wrong_drop = await drop("song.json", "{}");
}

main().catch((error) => { console.error(error); process.exit(1); });
