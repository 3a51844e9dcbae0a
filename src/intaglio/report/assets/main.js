// The rest of the page, and the start of everything.

function headline() {
  const files = data.points.length || means.reduce((sum, row) => sum + row.pictures, 0);
  const what = [count(data.pictures.length, "picture"), count(data.codecs.length, "codec"), count(files, "coded file")];
  byId("headline").textContent = what.join(", ");
  const when = data.date ? new Date(data.date) : null;
  const date = when && !Number.isNaN(when.getTime()) ? when.toLocaleDateString("en", { year: "numeric", month: "long", day: "numeric" }) : "";
  const unfinished = data.finished === false ? "The run was not finished" : "";
  const target = data.target && data.target.bytes ? `Each codec's largest file of at most ${text(data.target.bytes, 0)} bytes` : "";
  const failed = data.errors.count ? `${count(data.errors.count, "error")}, listed below` : "";
  byId("subline").textContent = [date, unfinished, target, failed].filter(Boolean).join(" · ");
}

function thumbnail(picture, index) {
  const facts = [picture.width ? `${picture.width} × ${picture.height} px` : "", picture.kept ? "" : "not kept"].filter(Boolean).join(", ");
  const image = picture.thumbnail
    ? make("img", { src: picture.thumbnail, alt: "", decoding: "async" })
    : make("span", { class: "blank", "aria-hidden": "true" });
  const caption = make("span", { class: "caption" }, make("b", {}, picture.name), make("small", {}, facts));
  if (!picture.versions.length) return make("li", {}, make("div", { class: "tile" }, image, caption));
  const button = make("button", { type: "button", class: "tile", "aria-label": `Look at ${picture.name}` }, image, caption);
  button.addEventListener("click", () => openPicture(index));
  return make("li", {}, button);
}

function picturesNote() {
  const kept = data.pictures.filter((each) => each.kept), shown = viewable().map((index) => data.pictures[index]);
  if (!kept.length) return "No decoded pictures were kept, so there is nothing to look at here.";
  const lines = ["Choose a picture to look at it closely: any two codecs, side by side under one slider."];
  const isCut = ({ box, width, height }) => box[2] - box[0] < width || box[3] - box[1] < height;
  const cut = shown.filter(isCut);
  if (cut.length) {
    const [left, top, right, bottom] = cut[0].box;
    const who = cut.length === shown.length ? "all of them" : `${text(cut.length, 0)} of ${text(shown.length, 0)} pictures`;
    lines.push(`To keep this page small, ${who} can be looked at in part only: the centre, ${right - left} × ${bottom - top} px.`);
  }
  if (shown.some((each) => each.versions.length < each.kept)) lines.push("Not every kept setting is here, only those nearest to a few rates.");
  if (shown.length < kept.length) lines.push(`${count(kept.length - shown.length, "kept picture does", "kept pictures do")} not fit and cannot be looked at here.`);
  return lines.join(" ");
}

function startPictures() {
  byId("pictures-note").textContent = picturesNote();
  const shown = data.pictures.some((each) => each.kept);
  byId("pictures-section").hidden = !shown;
  byId("thumbnails").classList.toggle("few", data.pictures.length <= 8);
  if (shown) byId("thumbnails").append(...data.pictures.map(thumbnail));
}

function startScope() {
  const mean = make("option", { value: -1 }, data.pictures.length === 1 ? "The only picture" : `Mean of ${data.pictures.length} pictures`);
  byId("scope").append(mean, ...(data.crowded ? [] : data.pictures.map(({ name }, index) => make("option", { value: index }, name))));
  if ((data.kind === "compare" || data.pictures.length === 1) && !data.crowded) chosen.scope = 0;
  byId("scope").value = chosen.scope;
  byId("scope").addEventListener("change", () => {
    chosen.scope = Number(byId("scope").value);
    refresh();
  });
}

function startErrors() {
  byId("errors-section").hidden = !data.errors.lines.length;
  byId("errors-title").textContent = data.errors.count ? count(data.errors.count, "error") : "Not so small";
  byId("errors").append(...data.errors.lines.map((line) => make("li", {}, line)));
}

function facts(box, entries) {
  for (const [name, value] of entries) {
    if (value !== undefined && value !== "" && value !== null) box.append(make("div", {}, make("dt", {}, name), make("dd", {}, String(value))));
  }
}

const GLOSSARY = [
  ["Rate", "8 × bytes of the whole file, headers included, by pixels of the picture (bit/px)."],
  ["PSNR", "10 log10(255² / mean squared error) over all samples of red, green and blue, in dB."],
  ["Luma, chroma", "The same of luma, and of Cb and Cr together: BT.601, full range, in floating point, not rounded."],
  ["MS-SSIM", "Multi-scale structural similarity, mean of the three channels, from 0 to 1; in dB it is −10 log10(1 − MS-SSIM)."],
  ["SSIMULACRA 2", "A measure made to agree with people's judgement; 100 is equal, 70 is high quality, 50 is medium."],
  ["BD-rate", "Mean difference in rate at the same quality, by piecewise cubic interpolation of the logarithm of the rate."],
  ["Bits", "Bits that Intaglio spends on each block of 16 × 16 pixels, by pixel."],
];

function startFacts() {
  const environment = data.environment && typeof data.environment === "object" ? Object.entries(data.environment) : [];
  const command = Array.isArray(data.command) ? data.command.join(" ") : data.command;
  facts(byId("facts"), [
    ["Date", data.date], ["Command", command], ["Threads", data.threads], ["Seconds", data.timing], ["Memory", data.memory],
    ...environment, ...data.codecs.map(({ label, about }) => [label, about]),
  ]);
  facts(byId("glossary"), GLOSSARY);
}

function refresh() {
  drawLegend();
  drawCurves();
  drawFigures();
}

startLook();
headline();
startScope();
startPictures();
startCurves();
startBd();
startErrors();
startFacts();
startViewer();
restyled.push(refresh);
refresh();
