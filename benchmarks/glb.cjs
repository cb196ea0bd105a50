// Opens exported GLBs with three.js in headless Chromium and photographs each shot of the job.
// node glb.cjs JOB.json, with three and puppeteer-core in NODE_PATH; `benchmarks/glb.py` writes it.
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { withPage } = require("./browser.cjs");

const job = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const three = path.dirname(path.dirname(require.resolve("three"))); // .../three/build/three.cjs

const PAGE = `<link rel="icon" href="data:,"><body style="margin:0"><script type="importmap">{"imports":
{"three":"/three/build/three.module.js","three/addons/":"/three/examples/jsm/"}}</script>
<script type="module">
import * as T from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
const size = ${job.size};
const renderer = new T.WebGLRenderer({ antialias: true, preserveDrawingBuffer: true });
renderer.setSize(size, size);
document.body.append(renderer.domElement);
const head = new T.Matrix4().fromArray(${JSON.stringify(job.head)}).transpose();
const target = new T.Vector3(0, -0.03, -0.07).applyMatrix4(head);
const camera = new T.PerspectiveCamera(2 * 180 / Math.PI * Math.atan(0.18 / 0.9), 1, 0.05, 10);
camera.position.copy(target).add(new T.Vector3().setFromMatrixColumn(head, 2).multiplyScalar(0.9));
camera.lookAt(target);
// The loader is started anew for every shot, so that nothing of the one before is left.
globalThis.shoot = async ({ file, weights, yaw, time }) => {
  const scene = new T.Scene();
  scene.background = new T.Color().setRGB(0.5, 0.5, 0.5, T.SRGBColorSpace);
  scene.add(new T.AmbientLight(0xffffff, Math.PI));
  const gltf = await new GLTFLoader().loadAsync("/files/" + file);
  scene.add(gltf.scene);
  let mesh, bone;
  gltf.scene.traverse((node) => {
    if (node.isMesh && node.morphTargetDictionary) mesh = node;
    if (node.isBone && node.name === "head") bone = node;
  });
  const clip = gltf.animations[0];
  if (clip) {
    const mixer = new T.AnimationMixer(gltf.scene);
    mixer.clipAction(clip).play();
    mixer.setTime(time);
  }
  for (const [name, value] of Object.entries(weights ?? {})) {
    mesh.morphTargetInfluences[mesh.morphTargetDictionary[name]] = value;
  }
  if (yaw) bone.rotateY(yaw);
  renderer.render(scene, camera);
  return { names: Object.keys(mesh.morphTargetDictionary).length, clip: clip?.duration ?? 0,
    vertices: mesh.geometry.attributes.position.count };
};
</script>`;

function answer(request, reply) {
  const url = decodeURIComponent(request.url);
  if (url === "/") return reply.setHeader("content-type", "text/html").end(PAGE);
  const file = url.startsWith("/three/") ? path.join(three, url.slice(7))
    : url.startsWith("/files/") ? path.join(job.out, url.slice(7)) : "";
  if (!file || !fs.existsSync(file)) { reply.statusCode = 404; return reply.end(); }
  reply.setHeader("content-type", file.endsWith("js") ? "text/javascript" : "application/octet-stream");
  return fs.createReadStream(file).pipe(reply);
}

async function main() {
  const server = http.createServer(answer);
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  await withPage(job.browser, { width: job.size, height: job.size }, console.error, async (page) => {
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.waitForFunction("globalThis.shoot", { timeout: 60000 });
    for (const shot of job.shots) {
      const said = await page.evaluate((asked) => shoot(asked), shot);
      await page.screenshot({ path: path.join(job.out, `${shot.name}.png`) });
      console.log(shot.name, JSON.stringify(said));
    }
  });
  server.close();
}

main().catch((error) => { console.error(error); process.exit(1); });
