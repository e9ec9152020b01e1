// How latencies are spread: a hill for each operation, over one logarithmic axis, and the numbers below.

const UNITS = { "-3": "ms", "-6": "µs", "-9": "ns" };
const MARKS = [["p50", "P50", "circle"], ["p95", "P95", "diamond"], ["p99", "P99", "triangle"]];

function drawLatency() {
  const { rows, per_decade: bins, notes: left } = DATA.latency;
  if (!rows.length) return;
  const low = Math.min(...rows.map(row => row.bins[0])) / bins - 0.1;
  const high = (Math.max(...rows.map(row => row.bins.at(-1))) + 1) / bins + 0.1;
  const made = figure({ height: rows.length * 38 + 46, x: [low, high], y: [rows.length - 0.35, -1] });
  const names = new Map(rows.map((row, i) => [i, cut(row.name, narrow() ? 12 : 26)]));
  label(made.yaxes[0], made.ygrids[0], [...names.keys()], names);
  made.ygrids[0].grid_line_color = colour("line");
  rows.forEach((row, i) => hill(made, row, i, bins));
  for (const [field, , marker] of MARKS.toReversed()) {
    made.scatter(rows.map(row => Math.log10(Math.max(row[field], 1e-9))), rows.map((_, i) => i), {
      marker, size: 9, fill_color: colour("text"), line_color: colour("card"), line_width: 1.2,
    });
  }
  const target = el("div.chart", null);
  fill("latency",
    el("h2", null, "Latencies"),
    el("p.lead", null, "How many calls took how long: every call counts, also those that the timeline leaves out. ",
      "● P50  ◆ P95  ▲ P99."),
    target, table(rows),
    notes([...left, "P95 with fewer than 20 calls and P99 with fewer than 100 are one of the slowest calls."]));
  tips(made, target, (x, y) => {
    const row = rows[Math.round(y + 0.3)];
    return row && [`${kindWord(row.kind)} ${row.name}`, `${thousands(row.calls)} calls`,
      ...MARKS.map(([field, text]) => `${text} ${seconds(row[field])}`), `slowest ${seconds(row.max)}`];
  });
  return show(made, target, (scale, from, to) => label(made.xaxes[0], made.xgrids[0], ...decades(from, to, scale)));
}

/** Places of 1 ms, 10 ms, …, and of 2 and 5 of them where there is room; each with its label. */
function decades(from, to, scale) {
  const ticks = [], labels = new Map();
  for (let power = Math.floor(from); power <= to; power++) {
    for (const digit of scale > 220 ? [1, 2, 5] : [1]) {
      const place = power + Math.log10(digit), third = 3 * Math.floor(power / 3);
      if (place < from || place > to) continue;
      ticks.push(place);
      labels.set(place, power >= 0 ? `${digit * 10 ** power} s` : `${digit * 10 ** (power - third)} ${UNITS[third]}`);
    }
  }
  return [ticks, labels];
}

/** Shares of calls as steps upwards from the operation's line. */
function hill(made, row, i, bins) {
  const most = Math.max(...row.shares), xs = [], ys = [];
  row.bins.forEach((bin, k) => {
    const top = i - 0.82 * (row.shares[k] / most);
    xs.push(bin / bins, bin / bins, (bin + 1) / bins, (bin + 1) / bins);
    ys.push(i, top, top, i);
  });
  made.patch(xs, ys, { fill_color: colour(row.kind), line_color: null, fill_alpha: 0.9 });
}

function table(rows) {
  const tokens = rows.some(row => row.tokens_in || row.tokens_out);
  const head = ["operation", "P50", "P95", "P99", "max", "calls", "errors", "share of wall"];
  if (tokens) head.push("tokens in", "out");
  const body = rows.map(row => el("tr", null,
    el("td", null, kindOf(row.kind), row.name),
    ...["p50", "p95", "p99", "max"].map(field => el("td", null, seconds(row[field]))),
    el("td", null, thousands(row.calls)),
    row.errors ? el("td.bad", null, thousands(row.errors)) : el("td", null, "–"),
    el("td", null, percent(row.share)),
    ...(tokens ? [row.tokens_in, row.tokens_out].map(count => el("td", null, count ? thousands(count) : "–")) : [])));
  return el("div.wide", null, el("table", null,
    el("thead", null, el("tr", null, ...head.map(text => el("th", null, text)))), el("tbody", null, ...body)));
}
