"use strict";
// The curves of a report: hover or arrow keys show values, the legend hides lines, the y-axis may be
// logarithmic, and lines may be smoothed. Each .chart holds its figures as JSON.
(() => {
  const SPACE = "http://www.w3.org/2000/svg";
  const DASHES = ["", "7 3", "2 3", "8 3 2 3"];
  const LEVEL_DASHES = ["7 4", "1 3", "12 3 2 3", "3 5", "12 6", "7 3 1 3 1 3"];
  const MOST_NAMED = 2; // levels whose names stand at their lines: more are told apart by the legend alone
  const MARGIN = { top: 22, right: 14, bottom: 40, left: 58 };
  let charts = 0;

  const element = (parent, name, attributes = {}, text = "") => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    parent.append(made);
    return made;
  };

  const shape = (parent, name, attributes = {}, text = "") => {
    const made = document.createElementNS(SPACE, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    parent.append(made);
    return made;
  };

  const written = (value) => {
    const size = Math.abs(value);
    return size === 0 || (size >= 1e-3 && size < 1e3) ? value.toFixed(4) : value.toPrecision(4);
  };

  const tickText = (value) => {
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-4 || size >= 1e6)) return value.toExponential(0);
    return String(Number(value.toPrecision(6)));
  };

  // About `count` round numbers from low to high.
  const linearTicks = (low, high, count) => {
    const rough = (high - low || 1) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((each) => each * power >= rough);
    const ticks = [];
    for (let at = Math.ceil(low / step); at * step <= high + step * 1e-9; at++) ticks.push(at * step);
    return ticks;
  };

  const logTicks = (low, high, count) => {
    const decades = Math.log10(high / low);
    const digits = decades < 1.2 ? [1, 2, 3, 5, 7] : decades < 3 ? [1, 2, 5] : [1];
    const ticks = [];
    const every = Math.max(1, Math.ceil(decades / count));
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += every)
      for (const digit of digits) ticks.push(digit * 10 ** power);
    return ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
  };

  // The exponential moving average, whose bias towards the beginning at zero is divided out.
  const smoothed = (values, weight) => {
    let sum = 0;
    return values.map((value, at) => {
      sum = weight * sum + (1 - weight) * value;
      return sum / (1 - weight ** (at + 1));
    });
  };

  // The place of the number in a sorted list that is nearest to x.
  const nearest = (sorted, x) => {
    let low = 0;
    let high = sorted.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < x) low = middle;
      else high = middle;
    }
    return x - sorted[low] <= sorted[high] - x ? low : high;
  };

  const begin = (home) => {
    const chart = JSON.parse(home.querySelector("script").textContent);
    const number = ++charts;
    const lines = chart.lines.map((line, at) => ({
      ...line, colour: `var(--line-${at % 10})`, dash: DASHES[at % DASHES.length], shown: true,
    }));
    const levels = chart.levels.map(([name, value], at) => ({
      name, value, dash: LEVEL_DASHES[at % LEVEL_DASHES.length], shown: true,
    }));
    const state = { log: chart.is_log, weight: 0, epoch: null };
    const every = lines.flatMap((line) => line.means);

    const controls = element(home, "div", { class: "controls" });
    if (every.every((value) => value > 0)) {
      const label = element(controls, "label");
      const box = element(label, "input", { type: "checkbox" });
      box.checked = state.log;
      label.append("log scale");
      box.addEventListener("change", () => { state.log = box.checked; draw(); });
    }
    if (lines.some((line) => line.epochs.length > 9)) {
      const label = element(controls, "label", {}, "smoothing");
      const range = element(label, "input", { type: "range", min: 0, max: 0.98, step: 0.02, value: 0 });
      const said = element(label, "output", {}, "0");
      range.addEventListener("input", () => {
        state.weight = Number(range.value);
        said.textContent = range.value;
        draw();
      });
    }
    const svg = shape(home, "svg", {
      tabindex: 0, role: "img",
      "aria-label": `${chart.title} over epochs: ${lines.map((line) => line.name).join(", ")}. Arrow keys show values.`,
    });
    const legend = element(home, "div", { class: "legend", role: "group", "aria-label": `Lines of ${chart.title}` });
    const tip = element(home, "div", { class: "tip", role: "status" });
    tip.hidden = true;
    home.append(...home.querySelectorAll(":scope > details, :scope > p"));

    for (const each of [...lines, ...levels]) {
      const button = element(legend, "button", { type: "button", "aria-pressed": "true" });
      const sample = shape(button, "svg", { "aria-hidden": "true" });
      const ends = { x1: 0, x2: 26, y1: 5, y2: 5, "stroke-dasharray": each.dash };
      if (!each.colour) shape(sample, "line", { class: "level", ...ends });
      else if (each.epochs.length > 1) shape(sample, "line", { class: "line", ...ends }).style.stroke = each.colour;
      else shape(sample, "circle", { cx: 13, cy: 5, r: 4 }).style.fill = each.colour;
      button.append(each.name);
      button.addEventListener("click", () => {
        each.shown = !each.shown;
        button.setAttribute("aria-pressed", String(each.shown));
        draw();
      });
    }

    let x, y, epochs, width, height;

    const draw = () => {
      width = svg.clientWidth;
      height = svg.clientHeight;
      svg.replaceChildren();
      hide();
      const shown = lines.filter((line) => line.shown);
      for (const line of shown) line.drawn = state.weight ? smoothed(line.means, state.weight) : line.means;
      epochs = [...new Set(shown.flatMap((line) => line.epochs))].sort((a, b) => a - b);
      if (!epochs.length || !width) return;

      const within = levels.filter((level) => level.shown && (!state.log || level.value > 0));
      const values = [...within.map((level) => level.value)];
      for (const line of shown)
        line.drawn.forEach((mean, at) => {
          const sd = (!state.weight && line.sds?.[at]) || 0; // one seed has none
          values.push(mean, mean + sd);
          if (!state.log || mean - sd > 0) values.push(mean - sd);
        });
      let [low, high] = [Math.min(...values), Math.max(...values)];
      if (low === high) [low, high] = state.log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) / 10, high + (Math.abs(high) || 1) / 10];
      const scale = state.log ? Math.log : Number;
      const room = 0.04 * (scale(high) - scale(low));
      const [bottom, top] = [scale(low) - room, scale(high) + room];
      const [first, last] = [epochs[0], epochs[epochs.length - 1]];
      const [right, floor] = [width - MARGIN.right, height - MARGIN.bottom];
      x = (epoch) => MARGIN.left + ((epoch - first) / (last - first || 1)) * (right - MARGIN.left);
      y = (value) => floor - ((scale(Math.max(value, state.log ? low : -Infinity)) - bottom) / (top - bottom)) * (floor - MARGIN.top);

      for (const tick of state.log ? logTicks(low, high, 6) : linearTicks(low, high, 5)) {
        shape(svg, "line", { class: "grid", x1: MARGIN.left, x2: right, y1: y(tick), y2: y(tick) });
        shape(svg, "text", { x: MARGIN.left - 8, y: y(tick) + 4, "text-anchor": "end" }, tickText(tick));
      }
      for (const tick of linearTicks(first, last, Math.max(2, Math.floor((right - MARGIN.left) / 50)))) {
        if (!Number.isInteger(tick)) continue;
        shape(svg, "text", { x: x(tick), y: floor + 18, "text-anchor": "middle" }, tickText(tick));
      }
      const middle = { x: (MARGIN.left + right) / 2, y: height - 4, "text-anchor": "middle" };
      shape(svg, "text", middle, "epoch");
      for (const [name, epoch] of chart.marks) {
        if (epoch < first || epoch > last) continue;
        shape(svg, "line", { class: "mark", x1: x(epoch), x2: x(epoch), y1: MARGIN.top, y2: floor });
        const isRight = x(epoch) > (MARGIN.left + right) / 2;
        const at = { x: x(epoch) + (isRight ? 5 : -5), y: MARGIN.top - 8, "text-anchor": isRight ? "end" : "start" };
        shape(svg, "text", at, `${name}, epoch ${epoch}`);
      }
      for (const { value, dash } of within) {
        const ends = { x1: MARGIN.left, x2: right, y1: y(value), y2: y(value) };
        shape(svg, "line", { class: "level", "stroke-dasharray": dash, ...ends });
      }
      const named = []; // before the lines, which no name may cover
      for (const { name, value } of levels.length > MOST_NAMED ? [] : within) {
        const at = y(value);
        if (named.some((other) => Math.abs(other - at) < 16)) continue; // the legend has it
        named.push(at);
        const beside = at < MARGIN.top + 10 ? at + 14 : at - 4; // above the topmost line stand the marks
        shape(svg, "text", { class: "name", x: right - 4, y: beside, "text-anchor": "end" }, name);
      }
      for (const line of shown) {
        const points = (values) => line.epochs.map((epoch, at) => `${x(epoch).toFixed(1)},${y(values[at]).toFixed(1)}`);
        if (line.sds && !state.weight) {
          const upper = points(line.drawn.map((mean, at) => mean + (line.sds[at] ?? 0)));
          const lower = points(line.drawn.map((mean, at) => mean - (line.sds[at] ?? 0))).reverse();
          shape(svg, "polygon", { class: "band", points: [...upper, ...lower].join(" ") }).style.fill = line.colour;
        }
        if (state.weight)
          shape(svg, "polyline", { class: "raw", points: points(line.means).join(" ") }).style.stroke = line.colour;
        const attributes = { class: "line", points: points(line.drawn).join(" "), "stroke-dasharray": line.dash };
        shape(svg, "polyline", attributes).style.stroke = line.colour;
        if (line.epochs.length < 10)
          line.epochs.forEach((epoch, at) => {
            shape(svg, "circle", { cx: x(epoch), cy: y(line.drawn[at]), r: 3 }).style.fill = line.colour;
          });
      }
      shape(svg, "g", { class: "pointer" });
    };

    const hide = () => {
      state.epoch = null;
      tip.hidden = true;
      svg.querySelector(".pointer")?.replaceChildren();
    };

    // Shows the values of the lines at an epoch, or at the measured one that is nearest to it.
    const show = (epoch) => {
      const pointer = svg.querySelector(".pointer");
      if (!pointer) return;
      state.epoch = epoch;
      pointer.replaceChildren();
      tip.replaceChildren();
      element(tip, "b", {}, `epoch ${epoch}`);
      shape(pointer, "line", { class: "cursor", x1: x(epoch), x2: x(epoch), y1: MARGIN.top, y2: height - MARGIN.bottom });
      for (const line of lines.filter((each) => each.shown)) {
        const at = nearest(line.epochs, epoch);
        const measured = line.epochs[at];
        const row = element(tip, "span");
        element(row, "i").style.background = line.colour;
        const sd = !state.weight && line.sds?.[at] != null ? ` ± ${written(line.sds[at])}` : "";
        const elsewhere = measured === epoch ? "" : ` (epoch ${measured})`;
        row.append(`${line.name} ${written(line.drawn[at])}${sd}${elsewhere}`);
        const spot = shape(pointer, "circle", { class: "spot", cx: x(measured), cy: y(line.drawn[at]), r: 4 });
        spot.style.fill = line.colour;
      }
      tip.hidden = false;
      const left = x(epoch) + 14 + tip.offsetWidth > width ? x(epoch) - 14 - tip.offsetWidth : x(epoch) + 14;
      tip.style.left = `${Math.max(0, Math.min(left, width - tip.offsetWidth))}px`;
      tip.style.top = `${svg.getBoundingClientRect().top - home.getBoundingClientRect().top + MARGIN.top + 20}px`;
    };

    const follow = (event) => {
      if (!epochs?.length) return;
      const part = (event.clientX - svg.getBoundingClientRect().left - MARGIN.left) / (width - MARGIN.left - MARGIN.right);
      const [first, last] = [epochs[0], epochs[epochs.length - 1]];
      show(epochs[nearest(epochs, first + part * (last - first))]);
    };
    svg.addEventListener("pointermove", follow);
    svg.addEventListener("pointerdown", follow);
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (event.key === "Escape") hide();
      if (step === undefined || !epochs?.length) return;
      event.preventDefault();
      const now = state.epoch === null ? epochs.length - 1 - step : epochs.indexOf(state.epoch);
      const next = Number.isFinite(now) ? now + step : step;
      show(epochs[Math.max(0, Math.min(epochs.length - 1, next))]);
    });
    new ResizeObserver(draw).observe(svg);
    home.dataset.chart = number;
  };

  document.querySelectorAll(".chart").forEach(begin);
})();
