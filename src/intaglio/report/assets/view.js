// The part of the viewer without buttons: which files, how they lie on the stage, and what is drawn there.

const view = {
  picture: 0, left: 0, right: 0, mode: "slider", gain: 8, divider: 0.5, // the divider: part of the stage's width
  scale: 1, x: 0, y: 0, fitted: true, // screen pixels for one of the picture; where its corner lies, in screen pixels
};
const MAX_SCALE = 64;
const STEPS = [1 / 16, 1 / 8, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];
const HEAT = [[0, 0, 4], [58, 15, 110], [138, 34, 106], [203, 64, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];

const bitmaps = new Map(); // by number of the file, of the picture that is shown
const samples = new Map(); // its ImageData
const layers = { key: "", canvas: null }; // difference or map, computed once
let loading = 0;

const picture = () => data.pictures[view.picture];
const version = (side) => picture().versions[view[side]];
const bitmap = (side) => bitmaps.get(version(side).file);
const extent = () => ({ width: picture().box[2] - picture().box[0], height: picture().box[3] - picture().box[1] });

async function opened(file) {
  if (bitmaps.has(file)) return bitmaps.get(file);
  const bytes = Uint8Array.from(atob(byId(`file-${file}`).textContent), (letter) => letter.charCodeAt(0));
  const found = await createImageBitmap(new Blob([bytes]), { colorSpaceConversion: "none" });
  bitmaps.set(file, found);
  return found;
}

function sampled(file) {
  if (!samples.has(file)) {
    const { width, height } = bitmaps.get(file);
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmaps.get(file), 0, 0);
    samples.set(file, context.getImageData(0, 0, width, height));
  }
  return samples.get(file);
}

function forgetFiles() {
  bitmaps.forEach((each) => each.close());
  [bitmaps, samples].forEach((map) => map.clear());
  layers.key = "";
}

// The version whose map is shown: the right one's, else the left one's, else any.
function mapped() {
  return [version("right"), version("left"), ...picture().versions].find((each) => each.map !== undefined);
}

async function loadSides() {
  const turn = ++loading;
  const files = [version("left").file, version("right").file];
  if (view.mode === "bits" && mapped()) files.push(mapped().map);
  await Promise.all(files.map(opened));
  if (turn === loading) draw();
}

function size() {
  const canvas = byId("canvas");
  const ratio = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
  const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  return { width, height, ratio };
}

function fitScale() {
  const stage = size(), { width, height } = extent();
  const whole = Math.min(stage.width / width, stage.height / height);
  return whole > 1 ? Math.min(Math.floor(whole), MAX_SCALE) : whole;
}

// The picture stays on the stage: in the middle where it is smaller, without a gap where it is larger.
function settle() {
  const stage = size(), { width, height } = extent();
  const along = (at, room, length) => (length <= room ? Math.round((room - length) / 2) : Math.min(0, Math.max(room - length, at)));
  view.x = along(view.x, stage.width, width * view.scale);
  view.y = along(view.y, stage.height, height * view.scale);
}

function fit() {
  view.scale = fitScale();
  view.fitted = true;
  draw();
}

// Zooms so that what is at (x, y), in screen pixels from the stage's corner, stays there.
function zoomTo(scale, x = size().width / 2, y = size().height / 2) {
  const next = Math.min(MAX_SCALE, Math.max(Math.min(fitScale(), 1) / 2, scale));
  view.x = x - (x - view.x) * (next / view.scale);
  view.y = y - (y - view.y) * (next / view.scale);
  view.scale = next;
  view.fitted = false;
  draw();
}

function zoomStep(direction) {
  const next = direction > 0 ? STEPS.find((step) => step > view.scale * 1.001) : STEPS.findLast((step) => step < view.scale * 0.999);
  if (next) zoomTo(next);
}

function panBy(x, y) {
  view.x += x;
  view.y += y;
  view.fitted = false;
  draw();
}

function layer(key, compute) {
  if (layers.key !== key) {
    const found = compute();
    layers.canvas = new OffscreenCanvas(found.width, found.height);
    layers.canvas.getContext("2d").putImageData(found, 0, 0);
    layers.key = key;
  }
  return layers.canvas;
}

function difference() {
  const a = sampled(version("left").file), b = sampled(version("right").file);
  return layer(`difference ${version("left").file} ${version("right").file} ${view.gain}`, () => {
    const found = new ImageData(a.width, a.height);
    for (let at = 0; at < a.data.length; at += 1) {
      found.data[at] = at % 4 === 3 ? 255 : view.gain * Math.abs(a.data[at] - b.data[at]);
    }
    return found;
  });
}

function heat(value) {
  const place = (value / 255) * (HEAT.length - 1), at = Math.min(Math.floor(place), HEAT.length - 2);
  return HEAT[at].map((low, index) => low + (HEAT[at + 1][index] - low) * (place - at));
}

function bitMap() {
  const source = sampled(mapped().map);
  return layer(`bits ${mapped().map}`, () => {
    const found = new ImageData(source.width, source.height);
    for (let at = 0; at < source.data.length; at += 4) found.data.set([...heat(source.data[at]), 255], at);
    return found;
  });
}

function draw() {
  const stage = size(), context = byId("canvas").getContext("2d");
  if (!bitmap("left") || !bitmap("right")) return;
  if (view.fitted) view.scale = fitScale();
  settle();
  context.fillStyle = colour("stage");
  context.fillRect(0, 0, stage.width, stage.height);
  context.imageSmoothingEnabled = view.scale < 1;
  context.imageSmoothingQuality = "high";
  const { width, height } = extent();
  const put = (image, scale = 1) => context.drawImage(image, view.x, view.y, image.width * scale * view.scale, image.height * scale * view.scale);
  if (view.mode === "difference") {
    put(difference());
  } else {
    put(bitmap("right"));
    if (view.mode === "bits" && mapped() && bitmaps.has(mapped().map)) putMap(context, put, width, height);
    context.save();
    context.beginPath();
    context.rect(0, 0, Math.round(view.divider * stage.width), stage.height);
    context.clip();
    context.fillRect(0, 0, stage.width, stage.height);
    put(bitmap("left"));
    context.restore();
  }
  describe(stage);
}

// Over the picture, whose shapes shine through; blocks at the edge may reach over it.
function putMap(context, put, width, height) {
  context.save();
  context.beginPath();
  context.rect(view.x, view.y, width * view.scale, height * view.scale);
  context.clip();
  context.globalAlpha = 0.82;
  context.imageSmoothingEnabled = false;
  put(bitMap(), 16);
  context.restore();
}
