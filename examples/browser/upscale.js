// A picture of any size through a network that enlarges one small patch: cut, run, put together.

import { runOnce } from "./model.js";
import { blank, toPixels } from "./picture.js";

const OVERLAP = 4; // pixels that neighbouring patches share at least; each shows its half of them
const COLOURS = ["#2ea043", "#e6aa1e", "#d23232"]; // cheapest branch first

// {enlarged, map, shares, milliseconds}: two canvases; which share of the patches each branch took, undefined for a
// dense network; milliseconds per patch.
export async function upscale(model, { input_shape: [height, width], output_shape }, canvas) {
  const scale = output_shape[0] / height;
  const enlarged = blank(scale * canvas.width, scale * canvas.height);
  const map = blank(enlarged.width, enlarged.height);
  const patches = cut(canvas.height, height).flatMap((row) => cut(canvas.width, width).map((column) => [row, column]));
  let milliseconds = 0;
  let counts;
  for (const [row, column] of patches) {
    const start = performance.now();
    const { prediction, route } = await runOnce(model, toPixels(canvas, column.start, row.start, width, height), [height, width, 3]);
    milliseconds += (performance.now() - start) / patches.length;
    const [x, y, w, h] = [column.from, row.from, column.to - column.from, row.to - row.from].map((v) => scale * v);
    const [left, top] = [scale * column.start, scale * row.start];
    enlarged.getContext("2d").putImageData(toImage(prediction, scale * width), left, top, x - left, y - top, w, h);
    if (!route) continue;
    counts ??= new Array(route.length).fill(0);
    const branch = route.indexOf(Math.max(...route));
    counts[branch] += 1;
    fill(map, COLOURS[branch % COLOURS.length], [x, y, w, h]);
  }
  veil(map, enlarged);
  return { enlarged, map, shares: counts?.map((count) => count / patches.length), milliseconds };
}

// Patches of `size` along `length` pixels: where each starts, and the pixels from … to … that it shows.
function cut(length, size) {
  const count = Math.max(1, Math.ceil((length - OVERLAP) / (size - OVERLAP)));
  const starts = Array.from({ length: count }, (_, i) => Math.floor((i * (length - size)) / Math.max(1, count - 1)));
  const middle = (i) => Math.floor((starts[i] + starts[i + 1] + size) / 2);
  return starts.map((start, i) => ({
    start,
    from: i === 0 ? 0 : middle(i - 1),
    to: i === count - 1 ? length : middle(i),
  }));
}

function toImage(rgb, width) {
  const rgba = Uint8ClampedArray.from({ length: (rgb.length / 3) * 4 }, (_, i) => (i % 4 === 3 ? 255 : rgb[3 * (i >> 2) + (i % 4)]));
  return new ImageData(rgba, width);
}

function fill(canvas, colour, box) {
  const target = canvas.getContext("2d");
  target.fillStyle = colour;
  target.fillRect(...box);
}

// The picture under the colours.
function veil(map, picture) {
  const target = map.getContext("2d");
  target.globalAlpha = 0.65;
  target.drawImage(picture, 0, 0);
}
