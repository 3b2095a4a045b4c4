// From an image file to the numbers a network takes.

// The file's centred square, width x height pixels, on a canvas; transparency over white.
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

// By halves: some browsers read only a few pixels of the source for each pixel drawn, so one large step would alias.
function shrink(bitmap, width, height) {
  const scale = Math.min(bitmap.width / width, bitmap.height / height);
  const halvings = Math.max(0, Math.floor(Math.log2(scale)));
  let [source, w, h] = [bitmap, width * scale, height * scale];
  let [x, y] = [(bitmap.width - w) / 2, (bitmap.height - h) / 2];
  for (let step = halvings; step >= 0; step--) {
    const canvas = draw(source, [x, y, w, h], width * 2 ** step, height * 2 ** step);
    [source, x, y, w, h] = [canvas, 0, 0, canvas.width, canvas.height];
  }
  return source;
}

export function blank(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

function draw(source, box, width, height) {
  const canvas = blank(width, height);
  const target = context(canvas);
  target.imageSmoothingQuality = "high";
  target.fillStyle = "white";
  target.fillRect(0, 0, width, height);
  target.drawImage(source, ...box, 0, 0, width, height);
  return canvas;
}

function context(canvas) {
  return canvas.getContext("2d", { willReadFrequently: true });
}
