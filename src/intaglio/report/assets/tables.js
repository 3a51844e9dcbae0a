// The tables: figures of each codec and setting, sortable; BD-rates of every pair.

const order = { key: "", falling: false };
const TEXT_COLUMNS = [{ key: "codec", label: "Codec" }, { key: "setting", label: "Setting" }];

function cellValue(row, key) {
  if (key === "codec") return data.codecs[row.codec].label;
  if (key === "setting") return row.setting;
  if (key === "pictures") return row.pictures;
  return row.value(key) === "inf" ? Infinity : row.value(key);
}

function compared(a, b) {
  const missing = (value) => value === null || value === undefined || value === "";
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  const turn = order.falling ? -1 : 1;
  if (typeof a === "number") return turn * (a - b);
  return turn * a.localeCompare(b, "en", { numeric: true });
}

function sorted(rows) {
  if (!order.key) return rows;
  return [...rows].sort((a, b) => compared(cellValue(a, order.key), cellValue(b, order.key)));
}

function heading({ key, label, unit }) {
  const mark = order.key === key ? (order.falling ? " ↓" : " ↑") : "";
  const button = make("button", { type: "button" }, label + mark);
  button.addEventListener("click", () => {
    order.falling = order.key === key && !order.falling;
    order.key = key;
    drawFigures();
    byId("figures").querySelector(`th[data-key="${key}"] button`).focus();
  });
  const state = order.key === key ? (order.falling ? "descending" : "ascending") : "none";
  const small = unit ? [make("small", {}, unit)] : [];
  const kind = key === "codec" || key === "setting" ? undefined : "number";
  return make("th", { scope: "col", "aria-sort": state, "data-key": key, class: kind }, button, ...small);
}

function drawFigures() {
  const rows = shownRows().filter((row) => chosen.codecs.has(row.codec));
  const settings = TEXT_COLUMNS.filter(({ key }) => key === "codec" || rows.some((row) => row.setting !== ""));
  const pictures = chosen.scope < 0 ? [{ key: "pictures", label: "Pictures", unit: "mean of", digits: 0 }] : [];
  const numbers = [...pictures, ...COLUMNS.filter(({ key }) => rows.some((row) => ![null, undefined].includes(row.value(key))))];
  const head = make("thead", {}, make("tr", {}, ...settings.map(heading), ...numbers.map(heading)));
  const body = make("tbody", {}, ...sorted(rows).map((row) => figuresLine(row, settings, numbers)));
  byId("figures").replaceChildren(make("table", {}, head, body));
  const what = chosen.scope < 0 ? `Means over pictures, ${count(rows.length, "row")}.` : `${data.pictures[chosen.scope].name}, ${count(rows.length, "row")}.`;
  byId("figures-note").textContent = rows.length ? `${what} Click a heading to sort; the ticks above choose the codecs.` : "No figures.";
}

function figuresLine(row, settings, numbers) {
  const first = make("th", { scope: "row" }, swatch(codecLook(row.codec), false), data.codecs[row.codec].label);
  const setting = settings.length > 1 ? [make("td", {}, row.setting)] : [];
  const cells = numbers.map(({ key, digits }) => make("td", { class: "number" }, text(key === "pictures" ? row.pictures : row.value(key), digits)));
  return make("tr", {}, first, ...setting, ...cells);
}

const percent = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)} %`;

function bdCell(cell) {
  if (!cell) return make("td", { class: "number own" }, "");
  if (typeof cell.rate !== "number") return make("td", { class: "number", title: cell.reason || "" }, "–");
  const held = typeof cell.interval_low === "number" && typeof cell.interval_high === "number";
  const range = held ? [make("small", {}, `${percent(cell.interval_low)} to ${percent(cell.interval_high)}`)] : [];
  const sure = held && cell.interval_low * cell.interval_high > 0;
  const verdict = cell.rate < 0 ? "saves" : "costs";
  const counted = typeof cell.low === "number" && typeof cell.high === "number" ? `compared from ${cell.low.toFixed(2)} to ${cell.high.toFixed(2)}, ${count(cell.pictures || 0, "picture")}` : "";
  return make("td", { class: sure ? `number ${verdict}` : "number", title: counted }, percent(cell.rate), ...range);
}

const codecLabel = (key) => (data.codecs.find((codec) => codec.key === key) || { label: key }).label;

function drawBd(metric) {
  const found = data.bd_rate[metric];
  const cell = (test, anchor) => found.cells.find((each) => each.anchor === anchor && each.test === test);
  const heads = found.codecs.map((key) => make("th", { scope: "col", class: "number" }, codecLabel(key)));
  const head = make("tr", {}, make("th", { scope: "col" }, "Row against column"), ...heads);
  const line = (test) => found.codecs.map((anchor) => bdCell(anchor === test ? null : cell(test, anchor)));
  const lines = found.codecs.map((test) => make("tr", {}, make("th", { scope: "row" }, codecLabel(test)), ...line(test)));
  byId("bd").replaceChildren(make("table", { class: "matrix" }, make("thead", {}, head), make("tbody", {}, ...lines)));
  const reasons = found.cells.map((each) => each.reason).filter(Boolean);
  byId("bd-remarks").replaceChildren(...[...new Set([...(found.notices || []), ...reasons])].map((line) => make("li", {}, line)));
}

function startBd() {
  const metrics = Object.keys(data.bd_rate).filter((metric) => data.bd_rate[metric].codecs.length > 1);
  byId("bd-section").hidden = !metrics.length;
  if (!metrics.length) return;
  byId("bd-note").textContent = "The row against the column: how many more bits the codec of a row needs than the codec of a column for the same "
    + "quality, in percent; below zero it saves bits. Small: where the figure lies with 95 % confidence, the pictures taken for a sample of all "
    + "pictures; coloured where that does not hold zero.";
  const label = (key) => (MEASURES.find((each) => each.key === key) || { label: key }).label;
  if (metrics.length > 1) segments(byId("bd-measure"), "bd", metrics.map((key) => [key, label(key)]), metrics[0], drawBd);
  else byId("bd-note").textContent += ` Quality: ${label(metrics[0])}.`;
  drawBd(metrics[0]);
}
