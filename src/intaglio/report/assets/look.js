// Light and dark, and the colours that canvases need to be told.

// Intaglio first, in the colour of copper; the others from Okabe and Ito's palette, told apart by colour-blind people.
const PALETTE = {
  light: ["#b5482a", "#0072b2", "#2a8f6f", "#8a5fa8", "#b8860b", "#3c91c9", "#c2568f", "#5b6770", "#7a8b1f", "#8c564b"],
  dark: ["#f0805c", "#5fb0e6", "#4ec9a0", "#c09be0", "#e6b84a", "#8fd0f5", "#f08fc0", "#a9b4bd", "#bccc5a", "#c99a8e"],
};
const SHAPES = ["circle", "rect", "triangle", "rectRot", "star", "crossRot", "cross", "rectRounded", "dash", "line"];
const restyled = [];

const systemDark = matchMedia("(prefers-color-scheme: dark)");
const theme = () => document.documentElement.dataset.theme;
const isDark = () => theme() === "dark" || (theme() === "auto" && systemDark.matches);

function codecColour(index) {
  const others = data.codecs.map((codec, at) => at).filter((at) => data.codecs[at].key !== "intaglio");
  const place = data.codecs[index] && data.codecs[index].key === "intaglio" ? 0 : 1 + others.indexOf(index);
  const palette = PALETTE[isDark() ? "dark" : "light"];
  return palette[place < palette.length ? place : 1 + (place % (palette.length - 1))];
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
