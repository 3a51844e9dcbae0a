// Light and dark, and the colours that canvases need to be told.

// How each codec is drawn: its colour on light and on dark, its point, turned by so many degrees or hollow. Intaglio has the
// colour of copper. The others were chosen so that every two stay apart (0.05 or more in OKLab, 0.07 without the programs) for
// people who see all colours and, by the matrices of Machado, Oliveira and Fernandes (2009), for those who lack red, green or
// blue; each has three times the contrast of the page or more. The points alone tell all of them apart.
const LOOKS = {
  intaglio: { light: "#b5482a", dark: "#f0805c", point: "circle" },
  jpeg: { light: "#1e51bf", dark: "#5a94fe", point: "rect" },
  jpegopt: { light: "#1a96a8", dark: "#aafcf0", point: "rect", hollow: true },
  jpeg444: { light: "#1a0f5b", dark: "#7959cf", point: "rectRot" },
  jpeg2000: { light: "#b18a1a", dark: "#fcf392", point: "triangle" },
  webp: { light: "#0a4e15", dark: "#89d696", point: "triangle", turn: 180 },
  avif: { light: "#881081", dark: "#ac4e8e", point: "star" },
  jpegxl: { light: "#e85298", dark: "#cb9bc6", point: "crossRot" },
  bpg: { light: "#505050", dark: "#cfcfcf", point: "cross" },
  vtm: { light: "#696969", dark: "#8b8e95", point: "triangle", hollow: true },
  hm: { light: "#878646", dark: "#edc411", point: "rectRot", hollow: true },
};
// Published methods: greys from dark to light, as the page is light, and dashes. Neighbours differ in both.
const GREYS = { light: ["#3d4046", "#8b8e94", "#63666c"], dark: ["#d6d7da", "#7d8087", "#a6a8ad"] };
const DASHES = [[7, 4], [2, 3], [12, 4], [9, 3, 2, 3], [5, 8]];
const restyled = [];

const systemDark = matchMedia("(prefers-color-scheme: dark)");
const theme = () => document.documentElement.dataset.theme;
const isDark = () => theme() === "dark" || (theme() === "auto" && systemDark.matches);

const isOurs = (key) => key === "intaglio" || key.startsWith("intaglio-");

// A codec of another name, such as a second model, gets the first look that no codec of this page has.
function lookOf(codec) {
  const keys = data.codecs.map(({ key }) => key);
  if (Object.hasOwn(LOOKS, keys[codec])) return LOOKS[keys[codec]];
  const free = Object.keys(LOOKS).filter((key) => !keys.includes(key));
  const from = free.length ? free : Object.keys(LOOKS);
  const others = keys.filter((key) => !Object.hasOwn(LOOKS, key));
  return LOOKS[from[others.indexOf(keys[codec]) % from.length]];
}

// These are options of a curve in Chart.js, and of its point in the legend.
function codecLook(codec) {
  const look = lookOf(codec), tint = look[isDark() ? "dark" : "light"];
  return {
    borderColor: tint, backgroundColor: tint, borderWidth: isOurs(data.codecs[codec].key) ? 3 : 1.75,
    pointStyle: look.point, rotation: look.turn ?? 0, pointBorderWidth: 2,
    radius: /^(star|cross)/.test(look.point) ? 6 : 4.5, // those are thin
    pointBackgroundColor: look.hollow ? colour("paper") : tint,
  };
}

function publishedLook(method) {
  const known = data.codecs.findIndex((codec) => codec.key === method);
  const others = Object.keys(data.published).filter((each) => !data.codecs.some((codec) => codec.key === each));
  const place = others.indexOf(method), greys = GREYS[isDark() ? "dark" : "light"];
  const tint = known < 0 ? greys[place % greys.length] : codecLook(known).borderColor;
  return {
    borderColor: tint, backgroundColor: tint, borderWidth: 1.75, borderDash: DASHES[Math.max(place, 0) % DASHES.length],
    pointStyle: "circle", rotation: 0, radius: 2, pointBorderWidth: 1, pointBackgroundColor: tint,
  };
}

// A piece of the curve for the legend, with its point, drawn by what draws the chart; without the line for the tables.
function swatch(look, line) {
  const width = line ? 36 : 16, height = 16, ratio = 2 * (window.devicePixelRatio || 1); // sharp at some zoom too
  const canvas = make("canvas", { class: "swatch", width: width * ratio, height: height * ratio, "aria-hidden": "true" });
  canvas.style.width = `${width}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.strokeStyle = look.borderColor;
  if (line) {
    context.lineWidth = look.borderWidth;
    context.setLineDash(look.borderDash || []);
    context.beginPath();
    context.moveTo(0, height / 2);
    context.lineTo(width, height / 2);
    context.stroke();
    context.setLineDash([]);
  }
  context.fillStyle = look.pointBackgroundColor;
  Chart.helpers.drawPoint(context, { ...look, borderWidth: look.pointBorderWidth }, width / 2, height / 2);
  return canvas;
}

function colour(name) {
  const probe = make("span", { class: `colour-${name}`, hidden: true });
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function remembered(key, value) {
  try {
    if (value === undefined) return localStorage.getItem(key);
    localStorage.setItem(key, value);
  } catch {
    // A page opened from a file may not be allowed to remember anything.
  }
  return null;
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  remembered("intaglio-theme", name);
  restyled.forEach((call) => call());
}

function startLook() {
  const wanted = remembered("intaglio-theme");
  const name = ["light", "dark"].includes(wanted) ? wanted : "auto";
  document.documentElement.dataset.theme = name;
  const options = [["auto", "Auto", "As the system"], ["light", "Light"], ["dark", "Dark"]];
  segments(byId("theme"), "theme", options, name, setTheme);
  systemDark.addEventListener("change", () => restyled.forEach((call) => call()));
}
