// The camera's picture, live.

const REFUSED = {
  NotAllowedError: "The camera may not be used. Allow it for this page in the browser, then start again.",
  NotFoundError: "There is no camera here.",
  NotReadableError: "The camera cannot be read: another program may be using it.",
};
const WIDTH = 640; // pixels: networks see far fewer
const FRAMES = 30;

// Shows the camera in a <video> element. `lost` is called if it goes away by itself.
export async function openCamera(video, lost) {
  if (!navigator.mediaDevices) throw new Error("The camera needs https or localhost.");
  const wanted = { video: { facingMode: "environment", width: { ideal: WIDTH } } };
  const stream = await navigator.mediaDevices.getUserMedia(wanted).catch((error) => {
    throw new Error(REFUSED[error.name] ?? `The camera does not start: ${error.message}`);
  });
  stream.getVideoTracks()[0].addEventListener("ended", lost);
  video.srcObject = stream;
  try {
    await video.play();
  } catch (error) {
    closeCamera(video);
    throw new Error(`The camera does not start: ${error.message}`);
  }
}

// Turns the camera off: its light goes out.
export function closeCamera(video) {
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
}

// A function to call at each frame: the frames a second of the latest ones, undefined at the first.
export function frameRate() {
  const times = [];
  return () => {
    times.push(performance.now());
    if (times.length > FRAMES) times.shift();
    return times.length > 1 ? (1000 * (times.length - 1)) / (times.at(-1) - times[0]) : undefined;
  };
}
