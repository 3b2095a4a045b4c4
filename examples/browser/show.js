// Results on the page.

const TOP = 5;

export const at = (id) => document.getElementById(id);

export function draw(id, canvas, caption) {
  Object.assign(at(id), { width: canvas.width, height: canvas.height });
  at(id).getContext("2d").drawImage(canvas, 0, 0);
  at(`${id}-caption`).textContent = caption;
}

export function listAnswers(labels, prediction) {
  const best = Array.from(prediction.keys()).sort((a, b) => prediction[b] - prediction[a]).slice(0, TOP);
  at("predictions").replaceChildren(...best.map((i) => bar(labels[i], prediction[i])));
}

export function listExperts(shares, description) {
  at("ran").textContent = description;
  at("experts").replaceChildren(...Array.from(shares ?? [], (share, k) => bar(`expert ${k}`, share)));
}

export function describe(route) {
  if (!route) return "A dense network: all of it ran.";
  const ran = Array.from(route.keys()).filter((k) => route[k] !== 0);
  if (ran.length === 0) return `Early exit: the base predicted alone; none of ${route.length} experts ran.`;
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

export function showLatency(milliseconds, what) {
  at("latency").textContent = `${milliseconds.toFixed(2)} ms ${what}`;
  at("latency").dataset.milliseconds = milliseconds;
}

export function showRate(frames, milliseconds) {
  const often = frames ? `${frames.toFixed(1)} frames a second; ` : "";
  at("latency").textContent = `${often}${milliseconds.toFixed(2)} ms in the network for this one`;
  Object.assign(at("latency").dataset, { milliseconds, frames: frames ?? "" });
}
