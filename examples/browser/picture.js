// From an image file to the numbers a network takes.

// The centred square of a file or of a video's frame, width x height pixels, on a canvas; transparency over white.
export function openPicture(file, width, height) {
  return opened(file, (bitmap) => shrink(bitmap, width, height));
}

// The whole file on a canvas, shrunk if need be so that its sides lie within least … most pixels where they can.
export function openWhole(file, least, most) {
  return opened(file, (bitmap) => {
    const { width, height } = bitmap;
    const scale = Math.max(Math.min(1, most / Math.max(width, height)), least / Math.min(width, height));
    return shrink(bitmap, Math.round(scale * width), Math.round(scale * height));
  });
}

async function opened(file, use) {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(`“${file.name}” is damaged or not an image that this browser reads (PNG, JPEG, WebP, …).`);
  });
  try {
    return use(bitmap);
  } finally {
    bitmap.close();
  }
}

// RGB floats in [0, 255] of a part of a canvas, row by row.
export function toPixels(canvas, x = 0, y = 0, width = canvas.width, height = canvas.height) {
  const rgba = context(canvas).getImageData(x, y, width, height).data;
  return Float32Array.from({ length: 3 * width * height }, (_, i) => rgba[4 * Math.floor(i / 3) + (i % 3)]);
}

// The centred part of that shape, resized as Pillow does it (bicubic, antialiased, 8 bits after each pass): a canvas's
// own resize differs from browser to browser, and so would the predictions.
function shrink(bitmap, width, height) {
  const scale = Math.min(bitmap.width / width, bitmap.height / height);
  const rows = taps(bitmap.height, height, scale);
  const columns = taps(bitmap.width, width, scale);
  const source = context(draw(bitmap)).getImageData(0, 0, bitmap.width, bitmap.height).data;
  const narrow = resample(source, bitmap.height, [bitmap.width, 1], columns, [width, 1]);
  const small = resample(narrow, width, [1, width], rows, [1, width]);
  const canvas = blank(width, height);
  context(canvas).putImageData(new ImageData(small, width, height), 0, 0);
  return canvas;
}

// For each of `size` new pixels of an axis of `length`: the first old pixel that counts, and the weights from there on.
function taps(length, size, scale) {
  const stretch = Math.max(scale, 1);
  const start = (length - size * scale) / 2;
  return Array.from({ length: size }, (_, i) => {
    const centre = start + (i + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - 2 * stretch + 0.5));
    const last = Math.min(length, Math.floor(centre + 2 * stretch + 0.5));
    const weights = Array.from({ length: last - first }, (_, k) => cubic((first + k + 0.5 - centre) / stretch));
    const sum = weights.reduce((total, weight) => total + weight);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

function cubic(distance) {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

// RGBA pixels resampled along one axis. `from` and `to`: how many pixels lie between lines, and between pixels of a line.
function resample(pixels, lines, from, found, to) {
  const out = new Uint8ClampedArray(4 * lines * found.length).fill(255);
  for (let line = 0; line < lines; line++) {
    for (let i = 0; i < found.length; i++) {
      const { first, weights } = found[i];
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) {
          sum += weights[k] * pixels[4 * (line * from[0] + (first + k) * from[1]) + channel];
        }
        out[4 * (line * to[0] + i * to[1]) + channel] = sum;
      }
    }
  }
  return out;
}

export function blank(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

// Over white, as large as it is.
function draw(bitmap) {
  const canvas = blank(bitmap.width, bitmap.height);
  const target = context(canvas);
  target.fillStyle = "white";
  target.fillRect(0, 0, canvas.width, canvas.height);
  target.drawImage(bitmap, 0, 0);
  return canvas;
}

function context(canvas) {
  return canvas.getContext("2d", { willReadFrequently: true });
}
