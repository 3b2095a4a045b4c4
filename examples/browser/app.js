// The page: one model and one picture at a time.

import { classify, listModels, openModel } from "./model.js";
import { openPicture, toPixels } from "./picture.js";

const TOP = 5;
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
  const [height, width] = entry.input_shape;
  const canvas = await openPicture(file, width, height);
  const { predictions, route, latency } = await classify(model, toPixels(canvas), entry.input_shape);
  drawSeen(canvas, file.name);
  listAnswers(predictions);
  listExperts(route);
  at("latency").textContent = `${latency.toFixed(2)} ms in the network (median of several runs, once warm)`;
  at("latency").dataset.milliseconds = latency;
  at("result").hidden = false;
}

function drawSeen(canvas, name) {
  Object.assign(at("seen"), { width: canvas.width, height: canvas.height });
  at("seen").getContext("2d").drawImage(canvas, 0, 0);
  at("caption").textContent = `What the network sees: ${canvas.width}×${canvas.height} pixels of ${name}`;
}

function listAnswers(predictions) {
  const best = Array.from(predictions.keys()).sort((a, b) => predictions[b] - predictions[a]).slice(0, TOP);
  at("answers").replaceChildren(...best.map((i) => bar(entry.labels[i], predictions[i])));
}

function listExperts(route) {
  at("ran").textContent = describe(route);
  at("experts").replaceChildren(...Array.from(route ?? [], (weight, k) => bar(`expert ${k}`, weight)));
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
