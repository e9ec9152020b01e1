// Figures: the same axes, tools, texts and tips for each of them.

/** Nice steps for an axis of seconds; returns the places and their labels. */
function timeTicks(low, high, count) {
  const raw = Math.max((high - low) / count, 1e-9);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= raw * 0.999);
  const [scale, unit] = Math.max(high, -low) < 1e-3 ? [1e6, "µs"] : Math.max(high, -low) < 1 ? [1e3, "ms"] : [1, "s"];
  const digits = Math.max(0, -Math.floor(Math.log10(step * scale) + 1e-9));
  const ticks = [], labels = new Map();
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high * (1 + 1e-12); i++) {
    ticks.push(i * step);
    labels.set(i * step, `${(i * step * scale).toFixed(digits)} ${unit}`);
  }
  return [ticks, labels];
}

/** A figure whose x axis can be moved and zoomed. options: height, x, y: [from, to], bounds: of x. */
function figure({ height, x, y, bounds, yAxis = true }) {
  const made = Bokeh.Plotting.figure({
    height, sizing_mode: "stretch_width", toolbar_location: null, tools: [],
    x_range: new Bokeh.Range1d({ start: x[0], end: x[1], bounds: bounds ?? x, min_interval: (x[1] - x[0]) * 1e-6 }),
    y_range: new Bokeh.Range1d({ start: y[0], end: y[1] }),
    background_fill_color: null, border_fill_color: null, outline_line_color: null, output_backend: "canvas",
    min_border_left: 4, min_border_right: 14, min_border_top: 4, min_border_bottom: 4,
  });
  const pan = new Bokeh.PanTool({ dimensions: "width" });
  const zoom = new Bokeh.WheelZoomTool({ dimensions: "width", modifiers: { ctrl: true } });
  made.add_tools(pan, zoom);
  made.toolbar.active_drag = pan;
  made.toolbar.active_scroll = zoom;
  for (const axis of made.axes) {
    Object.assign(axis, {
      axis_line_color: null, major_tick_line_color: null, minor_tick_line_color: null,
      major_label_text_color: colour("soft"), major_label_text_font_size: "12px",
      major_label_text_font: "system-ui, sans-serif", major_label_standoff: 6,
    });
  }
  for (const grid of made.grids) grid.grid_line_color = null;
  made.xgrids[0].grid_line_color = colour("grid");
  made.yaxes[0].visible = yAxis;
  return made;
}

/** Labels at these places of an axis, and lines of its grid. */
function label(axis, grid, places, labels) {
  axis.ticker = grid.ticker = new Bokeh.FixedTicker({ ticks: places });
  axis.major_label_overrides = labels;
}

/** Show a figure. redraw(pixels per unit, low, high) is called now and when the axis has moved. */
async function show(made, target, redraw) {
  target.style.minHeight = `${made.height}px`; // so that the page does not jump while it is drawn
  const view = await Bokeh.Plotting.show(made, target);
  // one finger scrolls the page up and down, and moves the axis left and right; two fingers zoom
  view.canvas.touch_action.replace(".bk-events { touch-action: pan-y; }");
  let waiting = false;
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      const low = made.x_range.start, high = made.x_range.end;
      redraw(view.frame.bbox.width / (high - low), low, high);
    });
  };
  const { start, end } = made.x_range.properties;
  made.x_range.on_change([start, end, made.properties.inner_width], later);
  later();
  return view;
}

/** What stands in boxes, as far as it fits: a text glyph and the function that fills it for a zoom. */
function fittingTexts(made, boxes, paint) {
  const source = new Bokeh.ColumnDataSource({ data: { x: [], y: [], text: [] } });
  made.text({ field: "x" }, { field: "y" }, { field: "text" }, {
    source, text_color: paint, text_font_size: "11.5px", text_font: "system-ui, sans-serif",
    text_baseline: "middle", x_offset: 4,
  });
  return (scale, low, high) => {
    const data = { x: [], y: [], text: [] };
    for (const box of boxes) {
      if (box.right < low || box.left > high) continue;
      const left = Math.max(box.left, low);
      const letters = Math.floor(((Math.min(box.right, high) - left) * scale - 8) / 6.4);
      if (letters < 3 || !box.text) continue;
      data.x.push(left);
      data.y.push(box.y);
      data.text.push(cut(box.text, letters));
    }
    source.data = data;
  };
}

/** Show a tip for what find(x, y) gives: [heading, line, …], or nothing. */
function tips(made, target, find) {
  const tip = document.getElementById("tip");
  const hide = () => { tip.hidden = true; };
  const at = event => {
    const lines = find(event.x, event.y);
    if (!lines) return hide();
    const [heading, ...rest] = lines;
    tip.replaceChildren(el("b", null, heading), ...rest.filter(line => line).map(line => el("div", null, line)));
    tip.hidden = false;
    const box = target.getBoundingClientRect(), { width, height } = tip.getBoundingClientRect();
    const left = box.left + event.sx + 14, top = box.top + event.sy + 16;
    tip.style.left = `${Math.max(8, Math.min(left, window.innerWidth - width - 12))}px`;
    tip.style.top = `${top + height > window.innerHeight - 8 ? top - height - 30 : top}px`;
  };
  made.on_event("mousemove", at);
  made.on_event("tap", at);
  if (window.matchMedia("(hover: hover)").matches) made.on_event("mouseleave", hide); // a finger leaves at once
  made.on_event("panstart", hide);
  window.addEventListener("scroll", hide, { passive: true });
}

/** Buttons that zoom, for those who have no wheel. */
function zoomButtons(made, home) {
  const zoom = factor => () => {
    const { start, end } = made.x_range, middle = (start + end) / 2, half = ((end - start) / 2) * factor;
    const [low, high] = made.x_range.bounds;
    made.x_range.setv({ start: Math.max(low, middle - half), end: Math.min(high, middle + half) });
  };
  return el("span.buttons", null,
    el("button", { onclick: zoom(0.5), title: "zoom in" }, "+"),
    el("button", { onclick: zoom(2), title: "zoom out" }, "−"),
    el("button", { onclick: () => made.x_range.setv({ start: home[0], end: home[1] }) }, "all"));
}
