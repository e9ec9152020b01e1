// The table of bottlenecks, each with a slider that shows what its change alone would bring.

const SHARE = "what one per cent less of it saves, in hundredths of a per cent";

function drawBottlenecks() {
  const { analysis } = DATA;
  if (!analysis) return;
  fill("bottlenecks",
    el("h2", null, "What would make it faster"),
    el("p.lead", null, "Each prediction is the recorded run, replayed with this one change and nothing else. ",
      "Gains do not add up: after one change, look again."),
    analysis.reliable ? null : el("p.warning.sticky", null, "✗ Not reliable: these numbers are guesses."),
    analysis.rows.length ? el("div.rows", null, ...analysis.rows.map(bottleneck))
      : el("p", null, "Nothing that was recorded would save a noticeable part of the time."),
    notes([...analysis.notes,
      analysis.lottery ? "Threads fought for the interpreter: predictions are means of several replays." : ""]));
}

function bottleneck(row, i) {
  const spread = row.gain_high - row.gain_low > 0.005;
  return el(row.reliable ? "article.row" : "article.row.doubtful", null,
    el("div.rank", null, i + 1),
    el("div", null,
      el("div.name", null, kindOf(row.kind), row.name),
      row.where ? el("span.where.mono", null, row.where) : null,
      el("a.chip", { href: `#class-${row.class}` }, row.class),
      row.ties.length ? el("span.chip.tie", null, `tie with ${row.ties.join(", ")}`) : null,
      row.reliable ? null : el("span.chip.doubt", null, "not reliable"),
      el("div.why", null, row.why), el("div.advice", null, row.advice)),
    el("div", null,
      el("div.gain", null,
        `${row.reliable ? "" : "maybe "}−${percent(row.gain)} `, el("small", null, fixWords(row.fix))),
      meter(row, spread),
      el("div.small", null,
        spread ? el("div", null, `between ${percent(row.gain_low)} and ${percent(row.gain_high)}`) : null,
        el("div", { title: SHARE }, `share of the wall ${percent(Math.max(0, row.share))}`))),
    slider(row));
}

function fixWords(fix) {
  return {
    faster: "if 2 × faster", "move to start": "if done at the start",
    capacity: `if capacity ${fix.from} → ${fix.to}`, workers: `if workers ${fix.from} → ${fix.to}`,
    hold: "if held half as long", rate: "if twice the rate",
  }[fix.action] ?? fix.action;
}

function meter(row, spread) {
  const width = share => `${Math.max(0, Math.min(1, share)) * 100}%`;
  const bar = el("div.meter", null, el("i.all", null), el("i.part", null), el("i.range", null));
  bar.children[1].style.width = width(row.gain);
  bar.children[2].style.left = width(row.gain_low);
  bar.children[2].style.width = width(row.gain_high - row.gain_low);
  bar.children[2].hidden = !spread;
  return bar;
}

function slider(row) {
  const { steps } = row, last = steps.length - 1;
  const at = el("span"), wall = el("b");
  const input = el("input", { type: "range", min: 0, max: last, step: 1, "aria-label": `what if: ${row.name}` });
  const update = () => {
    const step = steps[input.value], saved = 1 - step.wall / steps[0].wall;
    at.textContent = step.label;
    wall.textContent = (row.reliable ? "" : "≈ ") + seconds(step.wall);
    if (saved > 0.0005) wall.textContent += ` (−${percent(saved)})`;
    input.setAttribute("aria-valuetext", `${at.textContent}: ${wall.textContent}`);
  };
  input.addEventListener("input", update);
  input.value = row.fixed;
  update();
  return el("div.slider", null, el("output", null, at, wall), input,
    el("div.scale", null, el("span", null, steps[0].label), el("span", null, steps[last].label)));
}
