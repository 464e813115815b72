// What the pages do in the browser: the viewer's theme and time zone, charts, and changes.
"use strict";

// In a frame of Airflow the pages take Airflow's theme; by themselves that of the system.
const followTheme = () => {
  if (!document.body.hasAttribute("data-embedded")) return;
  let theme = null;
  try {
    theme = localStorage.getItem("theme");
  } catch {
    return;
  }
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
};

const showLocalTimes = () => {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const time of document.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    time.title = time.textContent;
    time.textContent = format.format(moment);
  }
};

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// The distances of the marks on an axis of days.
const DAYS = [1, 2, 7, 14, 28, 91, 182, 364];

const FORMATS = {
  share: (value) => `${(100 * value).toFixed(2)} %`,
  count: (value) => value.toLocaleString("en", { maximumFractionDigits: 0 }),
  money: (value) => value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 }),
  seconds: (value) => (value !== 0 && Math.abs(value) < 1 ? `${(1000 * value).toFixed(1)} ms` : `${value.toFixed(2)} s`),
  number: (value) => String(Number(value.toPrecision(4))),
};

// Limits and marks are drawn over the lines.
const drawLines = (chart) => (plot) => {
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  const dot = devicePixelRatio;
  ctx.save();
  ctx.setLineDash([6 * dot, 4 * dot]);
  ctx.textAlign = "left";
  ctx.lineWidth = dot;
  ctx.font = `${11 * dot}px system-ui, sans-serif`;
  const draw = (from, to, text, paint, place) => {
    ctx.strokeStyle = ctx.fillStyle = paint;
    ctx.beginPath();
    ctx.moveTo(...from);
    ctx.lineTo(...to);
    ctx.stroke();
    ctx.fillText(text, ...place);
  };
  for (const [value, text] of chart.limits) {
    const y = plot.valToPos(value, "y", true);
    if (y >= top && y <= top + height) {
      draw([left, y], [left + width, y], text, color("--bad"), [left + 4 * dot, y - 4 * dot]);
    }
  }
  chart.marks.forEach(([at, text], number) => {
    const x = plot.valToPos(at, "x", true);
    if (x >= left && x <= left + width) {
      const row = top + (12 + 13 * (number % 3)) * dot;
      draw([x, top], [x, top + height], text, color("--soft"), [x + 4 * dot, row]);
    }
  });
  ctx.restore();
};

const optionsOf = (chart, width) => {
  const format = FORMATS[chart.unit] ?? FORMATS.number;
  const shown = (_, value) => (value == null ? "-" : format(value));
  const days = { label: "Day (UTC)", value: (_, at) => (at == null ? "-" : new Date(at * 1000).toISOString().slice(0, 10)) };
  const series = [chart.byDay ? days : chart.byTime ? {} : { label: chart.xName }];
  const bands = [];
  const coloured = chart.series.filter((line) => line.style !== "usual");
  chart.series.forEach((line) => {
    const stroke = color(line.style === "usual" ? "--soft" : `--line-${(coloured.indexOf(line) % 6) + 1}`);
    const ends = (plot, value, place, at) => {
      const [high, low] = [plot.data[place + 1]?.[at], plot.data[place + 2]?.[at]];
      return shown(plot, value) + (high == null || low == null ? "" : ` (${format(low)} to ${format(high)})`);
    };
    const own = { label: line.name, stroke, width: 2, value: line.high.length ? ends : shown, spanGaps: false, points: { size: 5 } };
    if (line.style === "usual") Object.assign(own, { width: 1, points: { show: false } });
    if (line.style === "dashed") own.dash = [6, 4];
    if (line.style === "step") own.paths = uPlot.paths.stepped({ align: 1 });
    if (line.style === "bars") Object.assign(own, { paths: uPlot.paths.bars({ size: [0.7, 64] }), fill: `${stroke}66`, width: 1, points: { show: false } });
    if (line.style === "points") Object.assign(own, { paths: () => null, points: { show: true, size: 7 } });
    if (line.style === "alarms") {
      const bad = color("--bad");
      Object.assign(own, { stroke: bad, paths: () => null, points: { show: true, size: 10, fill: bad } });
    }
    series.push(own);
    if (line.high.length) {
      const edge = { stroke: "transparent", points: { show: false }, value: shown, class: "edge" };
      series.push({ ...edge, label: `${line.name}, high` }, { ...edge, label: `${line.name}, low` });
      bands.push({ series: [series.length - 2, series.length - 1], fill: `${stroke}2e` });
    }
  });
  const letters = Math.round(0.78 * parseFloat(getComputedStyle(document.documentElement).fontSize));
  const font = `${letters}px system-ui, sans-serif`;
  const axis = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font };
  const xAxis = { ...axis, ...(chart.byDay ? { incrs: DAYS.map((days) => 86400 * days) } : {}) };
  const scales = { x: { time: chart.byTime } };
  if (chart.shows.length) {
    scales.y = { range: (_, low, high) => uPlot.rangeNum(Math.min(low, ...chart.shows), Math.max(high, ...chart.shows), 0.1, true) };
  }
  if (chart.series.some((line) => line.style === "bars")) {
    scales.x.range = (_, low, high) => [low - (high - low || 86400) / chart.x.length, high + (high - low || 86400) / chart.x.length];
    scales.y = { range: (_, low, high) => [0, 1.05 * high || 1] };
  } else if (chart.byTime && chart.x.length === 1) {
    scales.x.range = () => [chart.x[0] - 43200, chart.x[0] + 43200]; // a day, not the years that uPlot would show
  }
  return {
    ...(chart.byDay ? { tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC") } : {}),
    width,
    height: Math.max(220, Math.min(420, Math.round(width * 0.32))),
    series,
    bands,
    scales,
    axes: [xAxis, { ...axis, size: 6 * letters, values: (_, ticks) => ticks.map(format) }],
    hooks: { draw: [drawLines(chart)] },
    legend: { live: true },
  };
};

const drawCharts = () => {
  const plots = [];
  for (const figure of document.querySelectorAll("figure.chart")) {
    const source = figure.querySelector("script");
    if (!source) continue;
    const chart = JSON.parse(source.textContent);
    const place = figure.querySelector(".plot");
    const data = [chart.x];
    for (const line of chart.series) data.push(line.values, ...(line.high.length ? [line.high, line.low] : []));
    const draw = () => {
      place.replaceChildren();
      return new uPlot(optionsOf(chart, place.clientWidth || 300), data, place);
    };
    plots.push({ place, draw, width: place.clientWidth, plot: draw() });
  }
  const observer = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const own = plots.find(({ place }) => place === target);
      if (own.width === target.clientWidth) continue;
      own.width = target.clientWidth;
      own.plot.setSize({ width: own.width, height: own.plot.height });
    }
  });
  for (const { place } of plots) observer.observe(place);
  const again = () => {
    for (const own of plots) {
      own.plot.destroy();
      own.plot = own.draw();
    }
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  addEventListener("storage", (event) => {
    if (event.key !== "theme") return;
    followTheme();
    again();
  });
};

// A form with data-change asks for confirmation in a dialog, and sends the change with the header that a form
// of another site cannot send.
const sendChanges = () => {
  for (const opener of document.querySelectorAll("[data-opens]")) {
    opener.addEventListener("click", () => document.getElementById(opener.dataset.opens).showModal());
  }
  for (const closer of document.querySelectorAll("dialog [data-closes]")) {
    closer.addEventListener("click", () => closer.closest("dialog").close());
  }
  for (const form of document.querySelectorAll("form[data-change]")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const told = form.querySelector("[role=status]");
      const button = form.querySelector("[type=submit]");
      button.disabled = true;
      told.textContent = "Sending …";
      try {
        const answer = await fetch(form.action, {
          method: "POST",
          headers: { "Content-Type": "application/json", [document.body.dataset.changeHeader]: "1" },
          body: JSON.stringify(Object.fromEntries(new FormData(form))),
        });
        told.textContent = await answer.text();
        button.disabled = answer.ok;
      } catch {
        told.textContent = "The dashboard does not answer. Nothing is known to have changed; look at the ledger.";
        button.disabled = false;
      }
    });
  }
};

followTheme();
showLocalTimes();
drawCharts();
sendChanges();
