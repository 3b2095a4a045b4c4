// The page: one model at a time, on one picture or on the camera's.

import { closeCamera, frameRate, openCamera } from "./camera.js";
import { classify, listModels, openModel, runOnce } from "./model.js";
import { openPicture, openWhole, toPixels } from "./picture.js";
import { at, describe, draw, listAnswers, listExperts, showLatency, showRate } from "./show.js";
import { upscale } from "./upscale.js";

const LARGEST = 256; // pixels of a side, of what is enlarged
const LIVE = "Live.";

let entries, entry, model, picture, rate; // rate: while the camera runs
let queue = Promise.resolve();

start();

function start() {
  at("model").addEventListener("change", () => inTurn("Loading the model …", chooseModel));
  at("file").addEventListener("change", () => {
    show(at("file").files);
    at("file").value = ""; // so that the same file can be picked again
  });
  at("camera").addEventListener("click", () => (rate ? stopCamera() : inTurn("Starting the camera …", startCamera)));
  document.addEventListener("visibilitychange", () => document.hidden && stopCamera());
  window.addEventListener("pagehide", stopCamera);
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    show(event.dataTransfer.files);
  });
  inTurn("Loading the model …", async () => {
    entries = await listModels();
    at("model").replaceChildren(...entries.map(({ title }) => new Option(title)));
    await chooseModel();
  });
}

// One action after another: a model is never closed while it runs.
function inTurn(doing, action) {
  queue = queue.then(async () => {
    at("status").textContent = doing;
    at("error").hidden = true;
    try {
      at("status").textContent = (await action()) ?? "Ready.";
    } catch (error) {
      fail(error);
    }
  });
}

function fail(error) {
  stopCamera();
  at("status").textContent = "Stopped.";
  at("result").hidden = true;
  at("error").textContent = error.message;
  at("error").hidden = false;
}

async function chooseModel() {
  model?.delete();
  model = undefined;
  entry = entries[at("model").selectedIndex];
  at("summary").textContent = entry.summary;
  if (enlarges()) stopCamera();
  at("camera").hidden = enlarges();
  if (!picture && !rate) at("result").hidden = true; // what another model saw
  model = await openModel(entry);
  if (picture) await look(picture);
  if (rate) return LIVE;
}

function enlarges() {
  return entry.output_shape.length === 3;
}

function show([file]) {
  if (!file) return;
  inTurn("Looking …", async () => {
    stopCamera();
    checkModel();
    await look(file);
    picture = file;
  });
}

function checkModel() {
  if (!model) throw new Error("There is no model to look at the picture: choose one that loads.");
}

async function look(file) {
  await (enlarges() ? enlarge(file) : name(file));
  lay();
}

// The parts of the page that suit what is shown.
function lay() {
  at("live").hidden = !rate;
  at("seen").hidden = Boolean(rate);
  at("map-figure").hidden = !enlarges();
  at("predictions-box").hidden = enlarges();
  at("result").hidden = false;
}

async function startCamera() {
  if (rate) return LIVE; // clicked twice
  checkModel();
  await openCamera(at("live"), () => fail(new Error("The camera went away.")));
  if (document.hidden) return closeCamera(at("live")); // left while the browser asked
  rate = frameRate();
  picture = undefined;
  at("camera").textContent = "Stop the camera";
  follow(rate);
  return LIVE;
}

// What the network saw last stays.
function stopCamera() {
  closeCamera(at("live"));
  if (!rate) return;
  rate = undefined;
  at("camera").textContent = "Start the camera";
  at("status").textContent = "Ready.";
  at("live").hidden = true;
  at("seen").hidden = false;
}

// In turn with other actions; as often as there is a new frame and the last one is done, until another start or stop.
function follow(session) {
  at("live").requestVideoFrameCallback(() => {
    queue = queue.then(async () => {
      if (rate !== session) return;
      try {
        await lookLive();
      } catch (error) {
        fail(error);
      }
      if (rate === session) follow(session);
    });
  });
}

async function lookLive() {
  checkModel();
  const [height, width] = entry.input_shape;
  const canvas = await openPicture(at("live"), width, height);
  const start = performance.now();
  const { prediction, route } = await runOnce(model, toPixels(canvas), entry.input_shape);
  const milliseconds = performance.now() - start;
  if (!rate) return;
  draw("seen", canvas, `The centred square of the camera, which the network sees in ${width}×${height} pixels`);
  at("live").style.aspectRatio = `${width} / ${height}`;
  listAnswers(entry.labels, prediction);
  listExperts(route, describe(route));
  showRate(rate(), milliseconds);
  lay();
}

async function name(file) {
  const [height, width] = entry.input_shape;
  const canvas = await openPicture(file, width, height);
  const { prediction, route, latency } = await classify(model, toPixels(canvas), entry.input_shape);
  draw("seen", canvas, `What the network sees: ${width}×${height} pixels of ${file.name}`);
  listAnswers(entry.labels, prediction);
  listExperts(route, describe(route));
  showLatency(latency, "in the network (median of several runs, once warm)");
}

async function enlarge(file) {
  const canvas = await openWhole(file, Math.max(...entry.input_shape.slice(0, 2)), LARGEST);
  const { enlarged, map, shares, milliseconds } = await upscale(model, entry, canvas);
  draw("seen", enlarged, `${canvas.width}×${canvas.height} pixels of ${file.name}, enlarged to ${enlarged.width}×${enlarged.height}`);
  draw("map", map, shares ? "Which branch each patch took: green the cheapest, red the dearest" : "One network for all");
  listExperts(shares, shares ? "Each patch ran one branch; the share of the patches that each took:" : describe());
  showLatency(milliseconds, "per patch (mean)");
}
