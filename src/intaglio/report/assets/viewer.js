// The viewer: what its buttons, lists and labels say.

const GAINS = [1, 2, 4, 8, 16, 32, 64];

const rowOf = ({ codec, setting }) => points[view.picture].find((row) => row.codec === codec && row.setting === setting);

const rateOf = (each) => (each.codec < 0 ? null : rowOf(each) ? rowOf(each).value("bpp") : null);

// What the digits stand for: 0 is the original, whether it was kept or not, then the codecs that were kept.
const keyedCodecs = () => [-1, ...new Set(picture().versions.map((each) => each.codec).filter((codec) => codec >= 0))];

function versionFacts(each) {
  const row = each.codec < 0 ? null : rowOf(each);
  if (!row) return named(each.codec, each.setting);
  const psnr = row.value("psnr") === null ? "" : `, ${text(row.value("psnr"), 2)} dB`;
  return `${named(each.codec, each.setting)}, ${text(row.value("bytes"), 0)} bytes, ${text(row.value("bpp"), 3)} bit/px${psnr}`;
}

function fillSides() {
  for (const side of ["left", "right"]) {
    byId(side).replaceChildren(...picture().versions.map((each, index) => {
      const digit = keyedCodecs().indexOf(each.codec);
      const rate = each.codec < 0 ? "" : `, ${text(rateOf(each), 3)} bit/px`;
      return make("option", { value: index }, `${digit < 10 ? `${digit}  ` : ""}${named(each.codec, each.setting)}${rate}`);
    }));
  }
}

// Where the tags and the status lines come from, after every drawing.
function describe(stage) {
  byId("left").value = view.left;
  byId("right").value = view.right;
  byId("zoom").textContent = `${text(100 * view.scale, view.scale < 0.1 ? 1 : 0)} %`;
  const divider = byId("divider"), difference = view.mode === "difference";
  divider.hidden = difference;
  divider.style.left = `${Math.round(view.divider * stage.width) / stage.ratio}px`;
  divider.setAttribute("aria-valuenow", Math.round(100 * view.divider));
  divider.setAttribute("aria-valuetext", `${Math.round(100 * view.divider)} % shows the left picture`);
  const [a, b] = [version("left"), version("right")].map((each) => named(each.codec, each.setting));
  byId("tag-left").textContent = difference ? `|${a} − ${b}| × ${view.gain}` : versionFacts(version("left"));
  byId("tag-right").textContent = rightTag();
  byId("tag-right").hidden = difference;
  byId("gain-field").hidden = !difference;
  byId("scale").hidden = view.mode !== "bits" || !mapped();
  if (!byId("scale").hidden) byId("scale-top").textContent = `${text(mapped().max_bpp, 2)} bit/px`;
  byId("viewer").dataset.mode = view.mode;
  const shown = `${versionFacts(version("left"))} and ${versionFacts(version("right"))}`;
  byId("canvas").setAttribute("aria-label", `${picture().name}: ${difference ? "difference of " : ""}${shown}`);
}

function rightTag() {
  if (view.mode !== "bits" || !mapped()) return versionFacts(version("right"));
  return `Bits of ${named(mapped().codec, mapped().setting)}, 16 × 16 blocks`;
}

function setMode(mode) {
  if (mode === "bits" && !mapped()) return;
  view.mode = mode;
  // The divider goes, and with it the focus; the keys must go on working.
  if (mode === "difference" && document.activeElement === byId("divider")) byId("canvas").focus();
  byId("mode").querySelectorAll("input").forEach((input) => { input.checked = input.value === mode; });
  loadSides();
}

function setSide(side, index) {
  if (index < 0 || index >= picture().versions.length) return;
  view[side] = index;
  loadSides();
}

function swapSides() {
  [view.left, view.right] = [view.right, view.left];
  loadSides();
}

function setDivider(part) {
  view.divider = Math.min(1, Math.max(0, part));
  draw();
}

function setGain(gain) {
  view.gain = gain;
  byId("gain").value = gain;
  draw();
}

// Of a codec the setting whose rate is nearest to what is shown; the next one where the codec is shown already.
function setCodec(side, digit) {
  const codec = keyedCodecs()[digit];
  const list = [...picture().versions.keys()].filter((index) => picture().versions[index].codec === codec);
  if (!list.length) return;
  const shown = list.indexOf(view[side]);
  setSide(side, shown >= 0 ? list[(shown + 1) % list.length] : nearestRate(list, rateOf(version(side)) || rateOf(version(side === "left" ? "right" : "left"))));
}

function nearestRate(list, rate) {
  const apart = (index) => Math.abs(Math.log((rateOf(picture().versions[index]) || 1) / (rate || 0.25)));
  return list.reduce((best, index) => (apart(index) < apart(best) ? index : best), list[0]);
}

// Original on the left and Intaglio on the right, unless the reader had chosen something that this picture has too.
function chooseSides(before) {
  const versions = picture().versions;
  const same = (old) => (old ? versions.findIndex((each) => each.codec === old.codec && each.setting === old.setting) : -1);
  const ofCodec = (old) => (old ? versions.findIndex((each) => each.codec === old.codec) : -1);
  const all = [...versions.keys()].filter((index) => versions[index].codec >= 0);
  const ours = all.filter((index) => data.codecs[versions[index].codec].key === "intaglio");
  const pick = (old, fallback) => [same(old), ofCodec(old), fallback].find((index) => index >= 0);
  view.left = pick(before[0], 0);
  view.right = pick(before[1], all.length ? nearestRate(ours.length ? ours : all.slice(0, 1)) : 0);
}

const viewable = () => data.pictures.map((each, index) => index).filter((index) => data.pictures[index].versions.length);

function openPicture(index) {
  const before = byId("viewer").open ? [version("left"), version("right")] : [];
  const old = byId("viewer").open ? extent() : null;
  forgetFiles();
  view.picture = index;
  chooseSides(before);
  fillSides();
  if (!byId("viewer").open) byId("viewer").showModal();
  const { width, height } = extent();
  if (!old || old.width !== width || old.height !== height) view.fitted = true;
  const [x, y, right, bottom] = picture().box;
  const cut = right - x < picture().width || bottom - y < picture().height;
  const full = picture().width ? `${picture().width} × ${picture().height} px` : `${width} × ${height} px`;
  const part = cut ? `, centre ${width} × ${height} px of it` : "";
  byId("viewer-title").replaceChildren(picture().name, make("small", {}, full + part));
  byId("mode").querySelector("input[value=bits]").disabled = !mapped();
  setMode(view.mode === "bits" && !mapped() ? "slider" : view.mode);
  byId("previous").disabled = byId("next").disabled = viewable().length < 2;
  byId("probe").textContent = "";
}

function otherPicture(step) {
  const list = viewable(), at = list.indexOf(view.picture);
  openPicture(list[(at + step + list.length) % list.length]);
}

function probe(x, y) {
  const at = { x: Math.floor((x - view.x) / view.scale), y: Math.floor((y - view.y) / view.scale) };
  const { width, height } = extent();
  if (at.x < 0 || at.y < 0 || at.x >= width || at.y >= height || !bitmap("left") || !bitmap("right")) {
    byId("probe").textContent = "";
    return;
  }
  const colours = ["left", "right"].map((side) => [...sampled(version(side).file).data.subarray(4 * (at.y * width + at.x)).subarray(0, 3)].join(" "));
  const [left, top] = picture().box;
  byId("probe").textContent = `x ${left + at.x}, y ${top + at.y}   left ${colours[0]}   right ${colours[1]}`;
}

function startViewer() {
  segments(byId("mode"), "mode", [["slider", "Slider", "Left and right (S)"], ["difference", "Difference", "Amplified difference (D)"], ["bits", "Bits", "Where Intaglio's bits go (B)"]], "slider", setMode);
  byId("gain").append(...GAINS.map((gain) => make("option", { value: gain }, `× ${gain}`)));
  byId("gain").value = view.gain;
  byId("gain").addEventListener("change", () => setGain(Number(byId("gain").value)));
  for (const side of ["left", "right"]) byId(side).addEventListener("change", () => setSide(side, Number(byId(side).value)));
  const presses = {
    previous: () => otherPicture(-1), next: () => otherPicture(1), swap: swapSides, fit, close: () => byId("viewer").close(),
    "zoom-in": () => zoomStep(1), "zoom-out": () => zoomStep(-1), actual: () => zoomTo(1),
  };
  for (const [id, press] of Object.entries(presses)) byId(id).addEventListener("click", press);
  byId("viewer").addEventListener("close", forgetFiles);
  new ResizeObserver(() => { if (byId("viewer").open) draw(); }).observe(byId("stage"));
  restyled.push(() => { if (byId("viewer").open) draw(); });
  startViewerInput();
}
