// Headless Chromium for the benchmarks: opened with a profile of its own that is thrown away.
const puppeteer = require("puppeteer-core");

const FLAGS = [
  "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
];

// Runs `work` with a page of the given viewport; `problem` hears of every error on it.
async function withPage(executablePath, viewport, problem, work) {
  const browser = await puppeteer.launch({ executablePath, args: FLAGS });
  try {
    const page = await browser.newPage();
    await page.setViewport(viewport);
    page.on("pageerror", (error) => problem(String(error)));
    page.on("console", (line) => line.type() === "error" && problem(line.text()));
    await work(page);
  } finally {
    await browser.close();
  }
}

module.exports = { withPage };
