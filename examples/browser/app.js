// The page: one model and one picture at a time.

import { classify, listModels, openModel } from "./model.js";
import { openPicture, openWhole, toPixels } from "./picture.js";
import { upscale } from "./upscale.js";

const TOP = 5;
const LARGEST = 256; // pixels of a side, of what is enlarged
const at = (id) => document.getElementById(id);

let entries, entry, model, picture;
let queue = Promise.resolve();

start();

function start() {
  at("model").addEventListener("change", () => inTurn("Loading the model …", chooseModel));
  at("file").addEventListener("change", () => {
    show(at("file").files);
    at("file").value = ""; // so that the same file can be picked again
  });
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
      await action();
      at("status").textContent = "Ready.";
    } catch (error) {
      at("status").textContent = "Stopped.";
      at("result").hidden = true;
      at("error").textContent = error.message;
      at("error").hidden = false;
    }
  });
}

async function chooseModel() {
  model?.delete();
  model = undefined;
  entry = entries[at("model").selectedIndex];
  at("summary").textContent = entry.summary;
  model = await openModel(entry);
  if (picture) await look(picture);
}

function show([file]) {
  if (!file) return;
  inTurn("Looking …", async () => {
    if (!model) throw new Error("There is no model to look at the picture: choose one that loads.");
    await look(file);
    picture = file;
  });
}

async function look(file) {
  const enlarges = entry.output_shape.length === 3;
  await (enlarges ? enlarge(file) : name(file));
  at("map-figure").hidden = !enlarges;
  at("answers-box").hidden = enlarges;
  at("result").hidden = false;
}

async function name(file) {
  const [height, width] = entry.input_shape;
  const canvas = await openPicture(file, width, height);
  const { prediction, route, latency } = await classify(model, toPixels(canvas), entry.input_shape);
  draw("seen", canvas, `What the network sees: ${width}×${height} pixels of ${file.name}`);
  listAnswers(prediction);
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

function showLatency(milliseconds, what) {
  at("latency").textContent = `${milliseconds.toFixed(2)} ms ${what}`;
  at("latency").dataset.milliseconds = milliseconds;
}

function draw(id, canvas, caption) {
  Object.assign(at(id), { width: canvas.width, height: canvas.height });
  at(id).getContext("2d").drawImage(canvas, 0, 0);
  at(`${id}-caption`).textContent = caption;
}

function listAnswers(prediction) {
  const best = Array.from(prediction.keys()).sort((a, b) => prediction[b] - prediction[a]).slice(0, TOP);
  at("answers").replaceChildren(...best.map((i) => bar(entry.labels[i], prediction[i])));
}

function listExperts(shares, description) {
  at("ran").textContent = description;
  at("experts").replaceChildren(...Array.from(shares ?? [], (share, k) => bar(`expert ${k}`, share)));
}

function describe(route) {
  if (!route) return "A dense network: all of it ran.";
  const ran = Array.from(route.keys()).filter((k) => route[k] !== 0);
  if (ran.length === 0) return `Early exit: the base answered alone; none of ${route.length} experts ran.`;
  return `${ran.length} of ${route.length} ran, weighted as below; the others did nothing.`;
}

function bar(name, share) {
  const item = document.createElement("li");
  const value = Object.assign(document.createElement("span"), { textContent: `${(100 * share).toFixed(1)} %` });
  const meter = Object.assign(document.createElement("meter"), { value: share, title: name });
  item.append(name, meter, value);
  item.classList.toggle("idle", share === 0);
  Object.assign(item.dataset, { name, share });
  return item;
}
