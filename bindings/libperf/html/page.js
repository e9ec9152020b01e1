// What all parts of the page share: data, elements, numbers as text, colours.

const DATA = JSON.parse(document.getElementById("data").textContent);
const STATES = ["run", "blocked", "interpreter", "lag", "resource", "outside", "other", "unknown"];

/** An element, "tag.class.class". Texts are always texts, never markup: names may hold anything. */
function el(what, attributes, ...children) {
  const [tag, ...classes] = what.split(".");
  const made = document.createElement(tag);
  made.classList.add(...classes);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) made.style.setProperty(name, value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined && child !== ""));
  return made;
}

function fill(id, ...children) {
  document.getElementById(id).replaceChildren(...children.filter(child => child));
}

function notes(texts) {
  return texts.length ? el("p.notes", null, texts.join(" ")) : null;
}

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const narrow = () => window.innerWidth < 760;
const cut = (text, length) => (text.length <= length ? text : text.slice(0, Math.max(1, length - 1)) + "…");
const thousands = value => value.toLocaleString("en");
const percent = share => `${(share * 100).toFixed(Math.abs(share) < 0.0995 ? 1 : 0)} %`;
const kindOf = kind => (kindWord(kind) ? el("span.kind", null, kindWord(kind)) : null);
const kindWord = kind => ({ span: "function", import: "", limiter: "" })[kind] ?? kind;

/** Three digits and a unit. */
function seconds(value) {
  if (value < 0) return `−${seconds(-value)}`;
  const [scale, unit] = value >= 0.9995 ? [1, "s"] : value >= 0.0009995 ? [1e3, "ms"] : [1e6, "µs"];
  const scaled = value * scale;
  return `${scaled.toFixed(scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0)} ${unit}`;
}
