// The rate-distortion curves, their legend, and walking along them with the keys.

let chart;

const measureNow = () => MEASURES.find((each) => each.key === chosen.measure);
const nice = (value) => Number(value.toPrecision(3)).toString();

function measuredCurve(codec) {
  const rows = shownRows().filter((row) => row.codec === codec && row.value("bpp") > 0);
  const drawn = rows.filter((row) => typeof row.value(chosen.measure) === "number");
  drawn.sort((a, b) => a.value("bpp") - b.value("bpp"));
  return {
    label: data.codecs[codec].label,
    data: drawn.map((row) => ({ x: row.value("bpp"), y: row.value(chosen.measure), row })),
    borderColor: codecColour(codec),
    backgroundColor: codecColour(codec),
    pointStyle: SHAPES[codec % SHAPES.length],
    borderWidth: data.codecs[codec].key === "intaglio" ? 3 : 1.75,
    pointRadius: 4,
    order: data.codecs[codec].key === "intaglio" ? 0 : 1,
  };
}

function publishedCurve(method) {
  const place = { psnr: 1, ms_ssim_db: 2 }[chosen.measure];
  const drawn = place ? data.published[method].filter((point) => typeof point[place] === "number") : [];
  const known = data.codecs.findIndex((codec) => codec.key === method);
  const tint = known < 0 ? colour("faint") : codecColour(known);
  return {
    label: `${method}, published`,
    data: drawn.map((point) => ({ x: point[0], y: point[place] })),
    borderColor: tint,
    backgroundColor: tint,
    borderDash: [6, 4],
    borderWidth: 1.5,
    pointRadius: 2,
    order: 2,
  };
}

function datasets() {
  const own = data.codecs.map((codec, index) => index).filter((index) => chosen.codecs.has(index)).map(measuredCurve);
  const others = chosen.scope < 0 ? [...chosen.published].map(publishedCurve) : [];
  return [...own, ...others].filter((curve) => curve.data.length).map((curve) => ({
    ...curve, showLine: true, clip: 8, pointHoverRadius: 7, pointHitRadius: 12,
  }));
}

function pointTitle(items) {
  const { row } = items[0].raw;
  if (!row) return items[0].dataset.label;
  return row.setting === "" ? data.codecs[row.codec].label : `${data.codecs[row.codec].label}, setting ${row.setting}`;
}

function pointLines(item) {
  const measure = measureNow();
  const lines = [`${text(item.raw.x, 3)} bit/px`, `${measure.long} ${text(item.raw.y, measure.digits)} ${measure.unit}`];
  if (item.raw.row && chosen.scope < 0) lines.push(`mean of ${count(item.raw.row.pictures, "picture")}`);
  return lines;
}

const oneTwoFive = (value) => [1, 2, 5].includes(Number((value / 10 ** Math.floor(Math.log10(value) + 1e-9)).toFixed(6)));

function axes() {
  const measure = measureNow();
  const common = { grid: { color: colour("line") }, border: { color: colour("line") } };
  const title = (label) => ({ display: true, text: label, color: colour("quiet"), font: { size: 13 } });
  const logarithmic = chosen.axis === "logarithmic";
  return {
    x: {
      ...common,
      type: chosen.axis,
      title: title("Rate, bits per pixel (bit/px)"),
      beginAtZero: !logarithmic,
      afterBuildTicks: (axis) => { if (logarithmic) axis.ticks = axis.ticks.filter((tick) => oneTwoFive(tick.value)); },
      ticks: { color: colour("quiet"), maxRotation: 0, autoSkipPadding: 12, callback: nice },
    },
    y: { ...common, title: title(`${measure.long}, ${measure.unit}`), ticks: { color: colour("quiet"), callback: nice } },
  };
}

function tooltip() {
  return {
    backgroundColor: colour("raised"), titleColor: colour("ink"), bodyColor: colour("ink"), borderColor: colour("line"),
    borderWidth: 1, padding: 10, cornerRadius: 6, displayColors: false,
    titleFont: { size: 13, weight: "600" }, bodyFont: { size: 13 },
    callbacks: { title: pointTitle, label: pointLines },
  };
}

function drawCurves() {
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  const options = {
    animation: false,
    responsive: true,
    maintainAspectRatio: false,
    interaction: { mode: "nearest", intersect: false },
    plugins: { legend: { display: false }, tooltip: tooltip() },
    scales: axes(),
  };
  if (chart) {
    chart.data.datasets = datasets();
    chart.options = options;
    chart.update();
  } else {
    chart = new Chart(byId("curves"), { type: "scatter", data: { datasets: datasets() }, options });
  }
  const names = chart.data.datasets.map((each) => each.label).join(", ");
  const what = names ? `${names}. The figures are in the table below.` : "no figures of this measure.";
  byId("curves").setAttribute("aria-label", `${measureNow().long} against bits per pixel: ${what} Arrow keys walk along the points.`);
}

// Left and right go to the next point of a curve, up and down to the next curve.
function walkCurves(event) {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  if (!(event.key in steps) || !chart.data.datasets.length) return;
  event.preventDefault();
  const [active] = chart.getActiveElements();
  const within = (value, length) => Math.min(Math.max(value, 0), length - 1);
  const [curve, step] = steps[event.key];
  const datasetIndex = active ? within(active.datasetIndex + curve, chart.data.datasets.length) : 0;
  const { data: line, label } = chart.data.datasets[datasetIndex];
  const index = active ? within(active.index + step, line.length) : 0;
  const { x, y } = chart.getDatasetMeta(datasetIndex).data[index];
  chart.setActiveElements([{ datasetIndex, index }]);
  chart.tooltip.setActiveElements([{ datasetIndex, index }], { x, y });
  chart.update();
  byId("curves-said").textContent = `${label}: ${pointLines({ raw: line[index] }).join(", ")}`;
}

function legendEntry(set, key, label, swatch) {
  const input = make("input", { type: "checkbox" });
  input.checked = set.has(key);
  input.addEventListener("change", () => {
    if (input.checked) set.add(key);
    else set.delete(key);
    refresh();
  });
  return make("label", {}, input, swatch, make("span", {}, label));
}

function drawLegend() {
  const box = byId("legend");
  box.querySelectorAll("label").forEach((each) => each.remove());
  data.codecs.forEach((codec, index) => {
    const swatch = make("i", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = codecColour(index);
    const fewest = Math.min(...means.filter((row) => row.codec === index).map((row) => row.pictures));
    const part = chosen.scope < 0 && fewest < data.pictures.length ? ` (mean of ${fewest} of ${data.pictures.length} pictures)` : "";
    const entry = legendEntry(chosen.codecs, index, codec.label + part, swatch);
    entry.title = codec.about;
    box.append(entry);
  });
}

function startPublished() {
  const methods = Object.keys(data.published);
  byId("published-box").hidden = !methods.length;
  const ours = methods.filter((method) => data.codecs.some((codec) => codec.key === method));
  const first = methods.length <= 6 ? methods : ours.length ? ours : methods.slice(0, 4);
  first.forEach((method) => chosen.published.add(method));
  byId("published-box").querySelector("summary").textContent = `Published curves (${methods.length})`;
  byId("published").append(...methods.map((method) => {
    const swatch = make("i", { class: "swatch dashed", "aria-hidden": "true" });
    return legendEntry(chosen.published, method, method, swatch);
  }));
}

function startCurves() {
  const measuredHere = MEASURES.filter(({ key }) => means.some((row) => typeof row.value(key) === "number"));
  chosen.measure = measuredHere.length ? measuredHere[0].key : "psnr";
  const options = measuredHere.map(({ key, label, long, unit }) => [key, label, `${long}, ${unit}`]);
  segments(byId("measure"), "measure", options, chosen.measure, (key) => { chosen.measure = key; refresh(); });
  const scales = [["logarithmic", "Log", "Logarithmic rate"], ["linear", "Linear", "Linear rate"]];
  segments(byId("axis"), "axis", scales, chosen.axis, (key) => { chosen.axis = key; refresh(); });
  byId("curves").addEventListener("keydown", walkCurves);
  startPublished();
}
