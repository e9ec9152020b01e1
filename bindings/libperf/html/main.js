// Header, counters, glossary; light and dark; and the order in which everything is drawn.

function drawHeader() {
  const { program, analysis, losses } = DATA;
  const facts = [
    [seconds(analysis ? analysis.wall : program.wall), "wall"],
    [thousands(program.spans), program.spans === 1 ? "span" : "spans"],
    ...(analysis ? [[thousands(analysis.events), "scheduler events"]] : []),
    [program.state, `pid ${program.pid}`],
    [program.started.slice(11, 19), `started ${program.started.slice(0, 10)} (${program.started.slice(20)})`],
  ];
  fill("header",
    el("div.top", null,
      el("div", null, el("p.brand", null, "libperf report"), el("h1", null, program.name),
        program.command === program.name ? null : el("p.mono.soft", null, program.command)),
      el("button", { id: "theme", onclick: toggleTheme, title: "light or dark" })),
    el("div.facts", null, ...facts.map(([value, text]) => (
      el("div.fact", null, el("b", null, value), el("span", null, text))))),
    trust(analysis),
    ...losses.map(text => el("p.loss", null, `Lost: ${text}.`)));
}

function trust(analysis) {
  if (!analysis) {
    return el("p.trust", null, "Recorded without scheduler events: there are latencies, and no predictions. ",
      "Run the program by `libperf run` to have both.");
  }
  const error = `Replaying the unchanged run comes out ${percent(analysis.error)} off`;
  if (analysis.reliable) {
    return el("p.trust", null,
      el("b", null, "✓ The predictions can be trusted. "), `${error}, and no event was lost. `,
      analysis.startup > 0.01
        ? `Imports before the program's own work, ${seconds(analysis.startup)}, are not counted.` : "");
  }
  return el("p.warning", null, `✗ Not reliable: ${analysis.doubt}. ${error}. Do not act on the predictions below.`);
}

function drawCounters() {
  const entries = Object.entries(DATA.counters);
  if (!entries.length) return;
  const rows = entries.map(([name, value]) => (
    el("tr", null, el("td", null, name), el("td", null, typeof value === "number" ? thousands(value) : value))));
  fill("counters",
    el("h2", null, "Counters and gauges"), el("div.wide", null, el("table", null, el("tbody", null, ...rows))));
}

function drawGlossary() {
  const used = new Set((DATA.analysis?.rows ?? []).map(row => row.class));
  const order = Object.entries(DATA.classes).sort(([a], [b]) => used.has(b) - used.has(a));
  fill("glossary",
    el("h2", null, "What the words mean"),
    el("dl", null, ...order.flatMap(([name, sentences]) => [
      el("dt", { id: `class-${name}`, class: used.has(name) ? "used" : null }, name), el("dd", null, sentences)])),
    el("h3", null, "What a replay cannot know"),
    el("ul", null, ...DATA.limits.map(text => el("li", null, text))));
}

// ---- light and dark ----

let drawing = Promise.resolve();

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.getElementById("theme").textContent = theme === "dark" ? "☀ light" : "☾ dark";
  drawing = drawing.then(drawCharts); // one after the other
  return drawing;
}

function toggleTheme() {
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
}

async function drawCharts() {
  for (const before of Bokeh.documents.splice(0)) before.clear();
  for (const draw of [drawTimeline, drawFlame, drawLatency]) await draw();
  document.documentElement.dataset.drawn = document.documentElement.dataset.theme;
}

const dark = window.matchMedia("(prefers-color-scheme: dark)");
drawHeader();
drawBottlenecks();
drawCounters();
drawGlossary();
fill("footer", el("p", null,
  `libperf ${DATA.program.libperf}. Charts: Bokeh ${Bokeh.version}. This file needs no network.`));
setTheme(dark.matches ? "dark" : "light");
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
