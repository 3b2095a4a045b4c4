// From an image file to the numbers a network takes.

// The file's centred square, width x height pixels, on a canvas; transparency over white.
export async function openPicture(file, width, height) {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(`“${file.name}” is damaged or not an image that this browser reads (PNG, JPEG, WebP, …).`);
  });
  try {
    return shrink(bitmap, width, height);
  } finally {
    bitmap.close();
  }
}

// RGB floats in [0, 255], row by row.
export function toPixels(canvas) {
  const { width, height } = canvas;
  const rgba = context(canvas).getImageData(0, 0, width, height).data;
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

function draw(source, box, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
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
