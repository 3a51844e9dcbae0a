// The rate-distortion curves, their legend, and walking along them with the keys.

let chart;

const measureNow = () => MEASURES.find((each) => each.key === chosen.measure);

function measuredCurve(codec) {
  const rows = shownRows().filter((row) => row.codec === codec && row.value("bpp") > 0);
  const drawn = rows.filter((row) => typeof row.value(chosen.measure) === "number");
  drawn.sort((a, b) => a.value("bpp") - b.value("bpp"));
  const look = codecLook(codec);
  return {
    ...look,
    label: data.codecs[codec].label,
    data: drawn.map((row) => ({ x: row.value("bpp"), y: row.value(chosen.measure), row })),
    radius: drawn.length > 1 ? look.radius : look.radius + 3, // a point without a line is easily missed
    order: isOurs(data.codecs[codec].key) ? 0 : 1,
  };
}

const publishedPlace = () => (chosen.scope < 0 ? { psnr: 1, ms_ssim_db: 2 }[chosen.measure] : undefined);

function publishedCurve(method) {
  const place = publishedPlace();
  const drawn = data.published[method].filter((point) => point[0] > 0 && typeof point[place] === "number");
  return {
    ...publishedLook(method),
    label: `${method}, published`,
    data: drawn.map((point) => ({ x: point[0], y: point[place] })),
    order: 2,
  };
}

function datasets() {
  const own = data.codecs.map((codec, index) => index).filter((index) => chosen.codecs.has(index)).map(measuredCurve);
  const others = publishedPlace() ? [...chosen.published].map(publishedCurve) : [];
  return [...own, ...others].filter((curve) => curve.data.length).map((curve) => ({
    ...curve, showLine: true, clip: 12, pointRadius: curve.radius, pointRotation: curve.rotation, pointHoverRadius: curve.radius + 3, pointHitRadius: 12,
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

const oneTwoFive = ({ value }) => [1, 2, 5].includes(Number((value / 10 ** Math.floor(Math.log10(value) + 1e-9)).toFixed(6)));

// As few digits as tell every tick from the next: 24.7, 24.75, 24.8 need two.
function tickDigits(ticks) {
  const values = ticks.map((tick) => tick.value);
  const apart = Math.min(...values.slice(1).map((value, index) => Math.abs(value - values[index])).filter((step) => step > 0));
  const exact = (digits) => values.every((value) => Math.abs(value - Number(value.toFixed(digits))) < apart / 100);
  return [0, 1, 2, 3, 4, 5, 6, 7].find(exact) ?? 8;
}

const evenTick = (value, index, ticks) => text(value, tickDigits(ticks));
const shortTick = (value) => Number(value.toPrecision(6)).toString();

// Room on either side, for the points at the ends; the axis of a single rate gets some on both sides of it.
function widened(axis) {
  const room = Math.max((axis.max / axis.min) ** 0.03, 1.01);
  axis.min /= room;
  axis.max *= room;
}

// 1, 2 and 5 where they tell the range; even steps where the rates lie close together.
function rateTicks(axis) {
  const kept = axis.ticks.filter(oneTwoFive);
  axis.ticks = kept.length >= 3 ? kept : evenTicks(axis.min, axis.max);
}

// About five ticks, at multiples of 1, 2 or 5 times a power of ten.
function evenTicks(low, high) {
  const wanted = (high - low) / 5, power = 10 ** Math.floor(Math.log10(wanted));
  const step = power * [1, 2, 5, 10].find((each) => each * power >= wanted * 0.99);
  const first = Math.ceil(low / step - 1e-6), last = Math.floor(high / step + 1e-6);
  return Array.from({ length: last - first + 1 }, (_, index) => ({ value: (first + index) * step }));
}

function rateAxis(curves) {
  const rates = curves.flatMap((curve) => curve.data.map((point) => point.x));
  if (chosen.axis === "logarithmic") {
    return { type: "logarithmic", afterDataLimits: widened, afterBuildTicks: rateTicks, ticks: { callback: shortTick } };
  }
  return { type: "linear", beginAtZero: Math.max(...rates) > 2 * Math.min(...rates), grace: "3%", ticks: { callback: evenTick } };
}

function axes(curves) {
  const measure = measureNow(), rate = rateAxis(curves);
  const common = { grid: { color: colour("line") }, border: { color: colour("line") } };
  const title = (label) => ({ display: true, text: label, color: colour("quiet"), font: { size: 13 } });
  const ticks = { color: colour("quiet"), maxRotation: 0, autoSkipPadding: 12 };
  return {
    x: { ...common, ...rate, title: title("Rate, bits per pixel (bit/px)"), ticks: { ...ticks, ...rate.ticks } },
    y: { ...common, grace: "4%", title: title(`${measure.long}, ${measure.unit}`), ticks: { ...ticks, callback: evenTick } },
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
  const curves = datasets();
  const options = {
    animation: false,
    responsive: true,
    maintainAspectRatio: false,
    interaction: { mode: "nearest", intersect: false },
    plugins: { legend: { display: false }, tooltip: tooltip() },
    scales: axes(curves),
  };
  if (chart) {
    chart.data.datasets = curves;
    chart.options = options;
    chart.update();
  } else {
    chart = new Chart(byId("curves"), { type: "scatter", data: { datasets: curves }, options });
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

function legendEntry(set, key, label, look) {
  const input = make("input", { type: "checkbox", value: key });
  input.checked = set.has(key);
  input.addEventListener("change", () => {
    if (input.checked) set.add(key);
    else set.delete(key);
    refresh();
    // The legend is made anew; the keyboard goes on where it was.
    const again = [...byId("legend").querySelectorAll("input")].find((each) => each.value === String(key));
    if (again) again.focus();
  });
  return make("label", {}, input, swatch(look, true), make("span", {}, label));
}

function codecEntry(codec, index) {
  const rows = means.filter((row) => row.codec === index);
  const fewest = Math.min(...rows.map((row) => row.pictures));
  const part = chosen.scope < 0 && fewest < data.pictures.length ? ` (mean of ${fewest} of ${data.pictures.length} pictures)` : "";
  const entry = legendEntry(chosen.codecs, index, codec.label + (rows.length ? part : " (no figures)"), codecLook(index));
  entry.title = codec.about;
  return entry;
}

// Published methods that were chosen once stand beside the codecs, where the chart can draw them; the others are folded.
const listed = new Set();

function drawLegend() {
  chosen.published.forEach((method) => listed.add(method));
  const entry = (method) => legendEntry(chosen.published, method, `${method}, published`, publishedLook(method));
  const more = Object.keys(data.published).filter((method) => !listed.has(method));
  const drawn = publishedPlace() ? [...listed].map(entry) : [];
  byId("legend").replaceChildren(byId("legend").querySelector("legend"), ...data.codecs.map(codecEntry), ...drawn);
  byId("published").replaceChildren(byId("published").querySelector("legend"), ...more.map(entry));
  byId("published-box").hidden = !more.length || !publishedPlace();
  byId("published-box").querySelector("summary").textContent = `More published curves (${more.length})`;
  byId("published-note").hidden = !Object.keys(data.published).length;
}

function startPublished() {
  const methods = Object.keys(data.published);
  const ours = methods.filter((method) => data.codecs.some((codec) => codec.key === method));
  const first = methods.length <= 6 ? methods : ours.length ? ours : methods.slice(0, 4);
  first.forEach((method) => chosen.published.add(method));
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
