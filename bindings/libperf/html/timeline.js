// The timeline: a lane for each task and thread, and the critical path through them.

const STATE_WORDS = [
  "running", "keeps its thread, off the CPU", "waiting for the interpreter", "ready, and its loop is busy",
  "waiting for a resource", "timer or I/O", "waiting for others", "waiting, not known for what",
];
const STEP_STATES = ["unknown", "run", "blocked", "outside", "outside", "run", "lag", "unknown"];
const STEP_WORDS = ["", "running", "keeping its thread, off the CPU", "waiting for a timer", "waiting for I/O", "importing",
  "ready, and its loop or the interpreter is busy", "waiting, and no event says for what"];

function drawTimeline() {
  const data = DATA.timeline;
  if (!data || !data.lanes.length) return;
  const pieces = unpacked(data.pieces, data.texts), path = unpacked(data.path, data.texts);
  const first = path.length ? -1.3 : -0.6, bottom = data.lanes.length - 0.35;
  const height = Math.round((bottom - first) * (data.lanes.length > 24 ? 19 : 24)) + 40;
  const home = [0, data.end / 1e6], begin = data.begin / 1e6;
  const made = figure({ height, x: home, bounds: [begin, home[1]], y: [bottom, first] });
  const names = new Map(data.lanes.map((name, i) => [i, cut(name, narrow() ? 12 : 26)]));
  if (path.length) names.set(-1, narrow() ? "critical" : "critical path");
  label(made.yaxes[0], made.ygrids[0], [...names.keys()], names);
  const all = [...pieces, ...path.map(step => ({ ...step, lane: -1 }))];
  boxes(made, all);
  if (path.length) drawPath(made, path);
  const texts = fittingTexts(made, all.filter(piece => piece.text).map(piece => (
    { left: piece.left, right: piece.right, y: piece.lane, text: piece.text })), colour("text"));
  const target = el("div.chart", null);
  fill("timeline",
    el("h2", null, "Timeline"),
    el("p.lead", null, "Each lane is a task, a thread, or a piece of an executor's work. ",
      "Drag to move; pinch, or Ctrl + wheel, to zoom."),
    el("div.bar", null, legend(pieces, path), zoomButtons(made, home)),
    target, notes([...data.notes, ...(path.length ? [] : ["The critical path is not known for this recording."]),
      begin < -0.01 ? "Time 0 is where the program's own work begins; the imports before it are to the left." : ""]));
  tips(made, target, finder(all, data));
  return show(made, target, (scale, low, high) => {
    label(made.xaxes[0], made.xgrids[0], ...timeTicks(low, high, narrow() ? 4 : 9));
    texts(scale, low, high);
  });
}

/** Rows out of columns, in seconds. */
function unpacked(columns, texts) {
  return columns.start.map((start, i) => {
    const state = columns.state ? STATES[columns.state[i]] : STEP_STATES[columns.kind[i]];
    const span = texts[columns.span[i]], what = texts[columns.what[i]];
    return {
      left: start / 1e6, right: (start + columns.length[i]) / 1e6, lane: columns.lane[i], state, span, what,
      text: ["other", "unknown", "lag"].includes(state) ? "" : state === "resource" ? what : span || what,
      part: columns.part?.[i] ?? 0, kind: columns.kind?.[i],
    };
  });
}

function boxes(made, all) {
  for (const state of STATES) {
    const some = all.filter(piece => piece.state === state);
    if (!some.length) continue;
    const half = state === "other" || state === "unknown" ? 0.14 : 0.38;
    const high = part => (part > 0 ? half - 2 * half * part / 100 : -half);
    const low = part => (part < 0 ? 2 * half * -part / 100 - half : half);
    made.quad({
      left: some.map(piece => piece.left), right: some.map(piece => piece.right),
      top: some.map(piece => piece.lane + high(piece.part)), bottom: some.map(piece => piece.lane + low(piece.part)),
      fill_color: colour(state), line_color: colour(state), line_width: 0.5,
    });
  }
}

/** A line under the pieces that the program was waiting for, and thin ones where it goes from lane to lane. */
function drawPath(made, path) {
  const shown = path.filter(step => step.lane >= 0);
  const paint = { line_color: colour("path") };
  made.segment(shown.map(step => step.left), shown.map(step => step.lane + 0.4),
    shown.map(step => step.right), shown.map(step => step.lane + 0.4), { ...paint, line_width: 3.5 });
  const jumps = shown.slice(1).map((step, i) => [shown[i], step]).filter(([from, to]) => from.lane !== to.lane);
  made.segment(jumps.map(([, to]) => to.left), jumps.map(([from]) => from.lane + 0.4),
    jumps.map(([, to]) => to.left), jumps.map(([, to]) => to.lane + 0.4),
    { ...paint, line_width: 1.3, line_alpha: 0.7 });
}

function legend(pieces, path) {
  const used = new Set(pieces.map(piece => piece.state));
  const entries = STATES.flatMap((state, i) => (
    used.has(state) ? [el("span", { "--colour": `var(--${state})` }, STATE_WORDS[i])] : []));
  if (path.length) entries.push(el("span.line", { "--colour": "var(--path)" }, "critical path"));
  return el("div.legend", null, ...entries);
}

function finder(all, data) {
  const lanes = new Map();
  for (const piece of all) {
    if (!lanes.has(piece.lane)) lanes.set(piece.lane, []);
    lanes.get(piece.lane).push(piece);
  }
  return (x, y) => {
    const lane = Math.round(y);
    const found = (lanes.get(lane) ?? []).findLast(piece => piece.left <= x && x <= piece.right);
    if (!found) return null;
    const onPath = found.lane < 0;
    const words = onPath ? STEP_WORDS[found.kind] : STATE_WORDS[STATES.indexOf(found.state)];
    const join = onPath ? "while another waits for" : { run: "", blocked: "by" }[found.state] ?? "for";
    return [
      onPath ? "critical path" : data.lanes[lane],
      found.span ? `in ${found.span}` : "outside every span",
      `${words} · ${seconds(found.right - found.left)}`,
      found.what ? `${join} ${found.what}` : "",
      found.part ? `${100 - Math.abs(found.part)} % of this time it ran; in which order was not recorded` : "",
      `from ${seconds(found.left)} to ${seconds(found.right)}`,
    ];
  };
}
