// The flame graph of spans, and what a click on a name does.

function drawFlame() {
  const { nodes, notes: left } = DATA.flame;
  if (nodes.name.length < 2) return;
  const all = nodes.name.map((name, i) => ({
    name, kind: nodes.kind[i], y: nodes.depth[i], text: name, calls: nodes.calls[i], own: nodes.own[i] / 1e6,
    left: nodes.start[i] / 1e6, right: (nodes.start[i] + nodes.total[i]) / 1e6,
  }));
  const deepest = Math.max(...nodes.depth), home = [0, all[0].right || 1e-6];
  const made = figure({ height: (deepest + 1) * 24 + 46, x: home, y: [deepest + 0.55, -0.55], yAxis: false });
  for (const kind of new Set(nodes.kind)) {
    const some = all.filter(node => node.kind === kind);
    made.quad({
      left: some.map(node => node.left), right: some.map(node => node.right),
      top: some.map(node => node.y - 0.46), bottom: some.map(node => node.y + 0.46),
      fill_color: colour(kind || "graph"), line_color: colour("card"), line_width: 1,
    });
  }
  const texts = fittingTexts(made, all, colour("text"));
  const target = el("div.chart", null);
  const kinds = [...new Set(nodes.kind)].filter(kind => kind);
  fill("flame",
    el("h2", null, "Where spans spend their time"),
    el("p.lead", null, "Each span stands under the one that it was opened in. Its width is wall-clock time of its own ",
      "and of what is inside it, added up over calls side by side. Click on a name to see it larger."),
    el("div.bar", null,
      el("div.legend", null, ...kinds.map(kind => el("span", { "--colour": `var(--${kind})` }, kindWord(kind)))),
      zoomButtons(made, home)),
    target, notes(left));
  const find = (x, y) => all.find(node => node.y === Math.round(y) && node.left <= x && x <= node.right);
  tips(made, target, (x, y) => {
    const node = find(x, y);
    return node && [
      `${kindWord(node.kind)} ${node.name}`,
      `${seconds(node.right - node.left)}, ${percent((node.right - node.left) / home[1])} of all`,
      `of its own: ${seconds(node.own)}`, node.calls ? `${thousands(node.calls)} calls` : "",
    ];
  });
  made.on_event("tap", event => {
    const node = find(event.x, event.y);
    if (node) made.x_range.setv({ start: node.left, end: node.right });
  });
  return show(made, target, (scale, low, high) => {
    label(made.xaxes[0], made.xgrids[0], ...timeTicks(low, high, narrow() ? 4 : 9));
    texts(scale, low, high);
  });
}
