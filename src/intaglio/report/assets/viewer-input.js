// Mouse, touch, wheel and keys on the viewer's stage.

const touches = new Map(); // pointers that are down, by id: {x, y} in screen pixels of the stage
const NEAR = 24; // screen points beside the divider where a finger still takes it
let dragging = ""; // "divider" or "picture"

function onStage(event) {
  const box = byId("canvas").getBoundingClientRect(), { ratio } = size();
  return { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
}

// Where the whole picture is on the stage there is nothing to move but the divider.
function dragKind(event, at) {
  if (view.mode === "difference") return "picture";
  const stage = size(), { width, height } = extent();
  const whole = width * view.scale <= stage.width + 0.5 && height * view.scale <= stage.height + 0.5;
  const near = Math.abs(at.x - view.divider * stage.width) < NEAR * stage.ratio * (event.pointerType === "touch" ? 1 : 0.5);
  return byId("divider").contains(event.target) || whole || near ? "divider" : "picture";
}

function pressed(event) {
  if (event.button > 0) return;
  const at = onStage(event);
  byId("stage").setPointerCapture(event.pointerId);
  touches.set(event.pointerId, at);
  dragging = touches.size === 1 ? dragKind(event, at) : "pinch";
  if (dragging === "divider") setDivider(at.x / size().width);
  byId("stage").dataset.dragging = dragging;
}

function moved(event) {
  const at = onStage(event), before = touches.get(event.pointerId);
  if (!before) {
    probe(at.x, at.y);
    return;
  }
  if (dragging === "pinch" && touches.size === 2) {
    pinched(event.pointerId, at);
  } else if (dragging === "divider") {
    setDivider(at.x / size().width);
  } else if (dragging === "picture") {
    panBy(at.x - before.x, at.y - before.y);
  }
  touches.set(event.pointerId, at);
}

function pinched(id, at) {
  const [other] = [...touches].filter(([key]) => key !== id).map(([, place]) => place);
  const before = touches.get(id);
  const spread = (a, b) => Math.max(1, Math.hypot(a.x - b.x, a.y - b.y));
  panBy((at.x - before.x) / 2, (at.y - before.y) / 2);
  zoomTo(view.scale * (spread(at, other) / spread(before, other)), (at.x + other.x) / 2, (at.y + other.y) / 2);
}

function released(event) {
  touches.delete(event.pointerId);
  dragging = touches.size ? "picture" : "";
  byId("stage").dataset.dragging = dragging;
}

function wheeled(event) {
  event.preventDefault();
  const { x, y } = onStage(event);
  const lines = event.deltaMode === 1 ? 20 : 1;
  zoomTo(view.scale * Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)), x, y);
}

const STEP = 64; // screen points that a key moves the picture

const KEYS = {
  "+": () => zoomStep(1), "=": () => zoomStep(1), "-": () => zoomStep(-1), _: () => zoomStep(-1),
  f: fit, z: () => zoomTo(1), x: swapSides,
  s: () => setMode("slider"), d: () => setMode(view.mode === "difference" ? "slider" : "difference"),
  b: () => setMode(view.mode === "bits" ? "slider" : "bits"),
  PageUp: () => otherPicture(-1), PageDown: () => otherPicture(1),
  ArrowUp: () => panBy(0, STEP * size().ratio), ArrowDown: () => panBy(0, -STEP * size().ratio),
  Home: () => setDivider(0), End: () => setDivider(1),
};

function arrow(event) {
  const direction = event.key === "ArrowLeft" ? -1 : 1;
  if (event.shiftKey || view.mode === "difference") panBy(-direction * STEP * size().ratio, 0);
  else setDivider(view.divider + direction * 0.02);
}

function keyed(event) {
  // In a list or among radio buttons the keys choose there.
  const radio = event.target.type === "radio" && event.key.startsWith("Arrow");
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.tagName === "SELECT" || radio) return;
  const digit = /^Digit([0-9])$/.exec(event.code) || /^Numpad([0-9])$/.exec(event.code);
  const call = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (digit) setCodec(event.shiftKey ? "left" : "right", Number(digit[1]));
  else if (event.key === "ArrowLeft" || event.key === "ArrowRight") arrow(event);
  else if (call) call();
  else return;
  event.preventDefault();
}

function startViewerInput() {
  const stage = byId("stage");
  stage.addEventListener("pointerdown", pressed);
  stage.addEventListener("pointermove", moved);
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) stage.addEventListener(name, released);
  stage.addEventListener("pointerleave", () => { byId("probe").textContent = ""; });
  stage.addEventListener("wheel", wheeled, { passive: false });
  stage.addEventListener("dblclick", (event) => {
    const { x, y } = onStage(event);
    if (view.fitted) zoomTo(view.scale < 1 ? 1 : view.scale * 4, x, y);
    else fit();
  });
  document.addEventListener("keydown", (event) => { if (byId("viewer").open) keyed(event); });
}
