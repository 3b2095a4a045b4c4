// Exported models, run by LiteRT.js.

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

const TIMES = 11;
const RUNS = 5; // timed together: browsers blur their clock

let runtime;

export async function listModels() {
  return JSON.parse(new TextDecoder().decode(await download("models.json")));
}

// The compiled model of an entry of models.json.
export async function openModel(entry) {
  runtime ??= loadLiteRt("litert/wasm/");
  await explain(runtime, "The LiteRT runtime did not start; reload the page to try again");
  const bytes = await download(entry.file);
  await verify(bytes, entry);
  return explain(loadAndCompile(bytes, { accelerator: "wasm" }), `LiteRT cannot run ${entry.file}`);
}

// {prediction, route}: no route for a dense network.
export function runOnce(model, pixels, shape) {
  return withTensor(pixels, shape, (images) => run(model, images));
}

// The same and latency: the median of several runs, in milliseconds.
export function classify(model, pixels, shape) {
  return withTensor(pixels, shape, async (images) => ({
    ...(await run(model, images)),
    latency: await medianLatency(model, images),
  }));
}

async function withTensor(pixels, shape, use) {
  const images = new Tensor(pixels, [1, ...shape]);
  try {
    return await explain(use(images), "The model failed on this picture");
  } finally {
    images.delete();
  }
}

async function medianLatency(model, images) {
  const found = [];
  for (let i = 0; i < TIMES; i++) {
    const start = performance.now();
    for (let k = 0; k < RUNS; k++) await run(model, images);
    found.push((performance.now() - start) / RUNS);
  }
  return found.sort((a, b) => a - b)[Math.floor(TIMES / 2)];
}

// The prediction and the route, copied out of the runtime's memory, which is freed by hand.
async function run(model, images) {
  const tensors = await model.run({ images });
  const outputs = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    outputs[name] = tensor.toTypedArray().slice();
    tensor.delete();
  }
  const { prediction, route, ...others } = outputs;
  if (!prediction || Object.keys(others).length > 0) {
    const names = Object.keys(outputs).join(", ");
    throw new Error(`expected the outputs prediction and, of a mixture, route, not ${names}; export it again`);
  }
  return { prediction, route };
}

async function download(file) {
  const response = await explain(fetch(file, { cache: "no-cache" }), `${file} could not be fetched`);
  if (!response.ok) throw new Error(`${file} is missing here (HTTP ${response.status}). Build the page again.`);
  return new Uint8Array(await explain(response.arrayBuffer(), `${file} could not be fetched`));
}

// The runtime trusts what it is given: a file that was cut off or altered must not reach it.
async function verify(bytes, { file, sha256 }) {
  if ((await digest(bytes)) === sha256) return;
  throw new Error(`${file} is damaged: it is not the file that was built. Build the page again.`);
}

async function digest(bytes) {
  if (!crypto.subtle) throw new Error("Checking the model needs https or localhost.");
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function explain(promise, what) {
  try {
    return await promise;
  } catch (error) {
    const why = error instanceof Event ? "a file of it could not be loaded" : (error.message ?? error);
    throw new Error(`${what}: ${why}`);
  }
}
