// What the other files use: the data, small helpers for elements, numbers as people read them.

const data = JSON.parse(document.getElementById("data").textContent);

const MEASURES = [
  { key: "psnr", label: "PSNR", long: "PSNR over RGB", unit: "dB", digits: 2 },
  { key: "psnr_y", label: "Luma", long: "PSNR of luma", unit: "dB", digits: 2 },
  { key: "psnr_c", label: "Chroma", long: "PSNR of chroma", unit: "dB", digits: 2 },
  { key: "ms_ssim_db", label: "MS-SSIM", long: "MS-SSIM", unit: "dB", digits: 2 },
  { key: "ssimulacra2", label: "SSIMULACRA 2", long: "SSIMULACRA 2", unit: "points", digits: 1 },
];

// Columns of the tables, in order; those without a single value are left out.
const COLUMNS = [
  { key: "bytes", label: "Size", unit: "bytes", digits: 0 },
  { key: "bpp", label: "Rate", unit: "bit/px", digits: 3 },
  { key: "psnr", label: "PSNR", unit: "dB", digits: 2 },
  { key: "psnr_y", label: "Luma", unit: "dB", digits: 2 },
  { key: "psnr_c", label: "Chroma", unit: "dB", digits: 2 },
  { key: "ms_ssim", label: "MS-SSIM", unit: "0 to 1", digits: 4 },
  { key: "ms_ssim_db", label: "MS-SSIM", unit: "dB", digits: 2 },
  { key: "ssimulacra2", label: "SSIMULACRA 2", unit: "points", digits: 1 },
  { key: "encode_s", label: "Encode", unit: "s", digits: 3 },
  { key: "decode_s", label: "Decode", unit: "s", digits: 3 },
  { key: "peak_mb", label: "Memory", unit: "MB", digits: 0 },
];

const byId = (id) => document.getElementById(id);

// An element; its children are elements or text, never markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

function text(value, digits) {
  if (value === null || value === undefined) return "–";
  if (value === "inf") return "∞";
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

const count = (number, one, many = `${one}s`) => `${text(number, 0)} ${number === 1 ? one : many}`;

const column = Object.fromEntries(data.columns.map((name, index) => [name, index]));

// Every measured thing has one shape: codec (an index), setting, pictures averaged, and the measures by name.
function measured(codec, setting, pictures, values) {
  return { codec, setting, pictures, value: (key) => values[column[key]] };
}

const means = data.means.map(([codec, setting, pictures, ...values]) => measured(codec, setting, pictures, values));
const points = data.pictures.map(() => []);
for (const [picture, codec, setting, ...values] of data.points) {
  points[picture].push(measured(codec, setting, 1, values));
}

// What is being looked at: the mean of all pictures (-1) or one, and the codecs that are ticked.
const chosen = { scope: -1, measure: "psnr", axis: "logarithmic", codecs: new Set(data.codecs.keys()), published: new Set() };
const shownRows = () => (chosen.scope < 0 ? means : points[chosen.scope]);

function named(codec, setting) {
  const label = codec < 0 ? "Original" : data.codecs[codec].label;
  return setting === "" ? label : `${label} · ${setting}`;
}

// Radio buttons that look like one row of buttons.
function segments(box, name, options, value, changed) {
  for (const [key, label, hint] of options) {
    const input = make("input", { type: "radio", name, value: key });
    input.checked = key === value;
    input.addEventListener("change", () => changed(key));
    box.append(make("label", { title: hint }, input, make("span", {}, label)));
  }
}
