// Draws the tables of the page with Chart.js, in the theme's colours and told apart without them:
// bars by patterns, lines by dashes and points. Dragging over a chart in time zooms the page.
// Without this file the tables are all there.
(() => {
  "use strict";

  const PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999933", "#AA4499", "#888888"];
  const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3]];
  const POINTS = ["circle", "rect", "triangle", "rectRot"];
  const DRAG_PX_MIN = 8;

  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const colour = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };

  const marks = [
    null,
    (c) => { c.moveTo(0, 8); c.lineTo(8, 0); },
    (c) => { c.rect(2, 2, 2, 2); c.rect(6, 6, 2, 2); },
    (c) => { c.moveTo(0, 4); c.lineTo(8, 4); },
    (c) => { c.moveTo(0, 0); c.lineTo(8, 8); c.moveTo(0, 8); c.lineTo(8, 0); },
    (c) => { c.moveTo(0, 0); c.lineTo(8, 8); },
    (c) => { c.moveTo(4, 0); c.lineTo(4, 8); },
    (c) => { c.moveTo(4, 0); c.lineTo(4, 8); c.moveTo(0, 4); c.lineTo(8, 4); },
    (c) => { c.rect(3, 3, 2, 2); },
  ];
  const patterns = new Map();
  const filled = (place) => {
    const n = place % PALETTE.length;
    if (!patterns.has(n)) {
      const tile = document.createElement("canvas");
      tile.width = tile.height = 8;
      const context = tile.getContext("2d");
      context.fillStyle = PALETTE[n];
      context.fillRect(0, 0, 8, 8);
      if (marks[n]) {
        context.strokeStyle = "rgba(255, 255, 255, 0.75)";
        context.lineWidth = 1.4;
        context.beginPath();
        marks[n](context);
        context.stroke();
      }
      patterns.set(n, context.createPattern(tile, "repeat"));
    }
    return patterns.get(n);
  };

  const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });
  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const said = (unit, value, short, inSeconds = false) => {
    if (value === null || value === undefined) return "no data";
    if (unit === "usd") return `$${value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: Math.abs(value) < 1 ? 4 : 2 })}`;
    if (unit === "ms") return value >= 10000 || inSeconds ? `${(value / 1000).toLocaleString("en", { maximumFractionDigits: 1 })} s` : `${whole.format(value)} ms`;
    return short ? compact.format(value) : whole.format(value);
  };

  const dataset = (data, series, n) => {
    if (data.kind === "lines") {
      return {
        label: series.name, data: series.data, borderColor: PALETTE[n], backgroundColor: PALETTE[n],
        borderDash: DASHES[n % DASHES.length], pointStyle: POINTS[n % POINTS.length], pointRadius: 3, borderWidth: 2, spanGaps: false,
      };
    }
    const place = series.name === "Other" ? 8 : n % 8;
    return { label: series.name, data: series.data, backgroundColor: filled(place), borderColor: PALETTE[place], borderWidth: 1 };
  };

  const options = (data) => {
    const text = colour("--muted"), line = colour("--line"), bars = data.kind === "bars";
    const amounts = {
      beginAtZero: true, stacked: data.kind === "stacked", grid: { color: line }, border: { display: false },
      ticks: {
        color: text, maxTicksLimit: 6, precision: data.unit === "count" ? 0 : undefined,
        // One unit for the whole axis: that of its end.
        callback: (value, _place, ticks) => said(data.unit, value, true, ticks.at(-1).value >= 10000),
      },
    };
    const names = {
      stacked: data.kind === "stacked", grid: { display: false },
      ticks: { color: text, maxTicksLimit: bars ? 20 : 8, maxRotation: 0, autoSkipPadding: 12 },
    };
    return {
      responsive: true, maintainAspectRatio: false, animation: false, indexAxis: bars ? "y" : "x",
      interaction: { mode: "index", intersect: false, axis: bars ? "y" : "x" },
      plugins: {
        legend: { display: data.series.length > 1, position: "bottom", labels: { color: text, usePointStyle: data.kind === "lines", boxWidth: 18, boxHeight: data.kind === "lines" ? 7 : 12 } },
        tooltip: {
          callbacks: {
            label: (item) => `${item.dataset.label}: ${said(data.unit, item.raw)}`,
            footer: (items) => {
              if (data.kind !== "stacked" || items.length < 2) return "";
              return `Total: ${said(data.unit, items.reduce((sum, item) => sum + (item.raw || 0), 0))}`;
            },
          },
        },
      },
      scales: bars ? { x: amounts, y: names } : { x: names, y: amounts },
    };
  };

  const draw = (canvas, data) => new Chart(canvas, {
    type: data.kind === "lines" ? "line" : "bar",
    data: { labels: data.labels, datasets: data.series.map((series, n) => dataset(data, series, n)) },
    options: options(data),
  });

  // Dragging from one bar to another shows the time between them.
  const zoom = (box, chart, data) => {
    if (data.starts.length < 2) return;
    const canvas = chart.canvas, brush = document.createElement("div");
    brush.className = "u-brush";
    let from = null;
    const x = (event) => event.clientX - canvas.getBoundingClientRect().left;
    const index = (px) => Math.min(data.labels.length - 1, Math.max(0, Math.round(chart.scales.x.getValueForPixel(px))));
    const stop = () => { from = null; brush.remove(); };
    canvas.addEventListener("pointerdown", (event) => { if (event.button === 0) from = x(event); });
    canvas.addEventListener("pointermove", (event) => {
      if (from === null || Math.abs(x(event) - from) < DRAG_PX_MIN) return;
      if (!brush.isConnected) { box.append(brush); canvas.setPointerCapture(event.pointerId); }
      brush.style.left = `${Math.min(from, x(event))}px`;
      brush.style.width = `${Math.abs(x(event) - from)}px`;
    });
    canvas.addEventListener("pointercancel", stop);
    canvas.addEventListener("pointerup", (event) => {
      if (from === null || Math.abs(x(event) - from) < DRAG_PX_MIN) { stop(); return; }
      const ends = [index(from), index(x(event))].sort((a, b) => a - b);
      const address = new URL(location.href);
      for (const name of ["span", "was"]) address.searchParams.delete(name);
      address.searchParams.set("since", data.starts[ends[0]]);
      address.searchParams.set("until", data.starts[ends[1] + 1]);
      address.searchParams.set("zone", document.querySelector("[data-zone]").dataset.zone);
      address.hash = box.closest("section").id;
      stop();
      location.assign(address);
    });
    document.addEventListener("keydown", (event) => { if (event.key === "Escape") stop(); });
  };

  const charts = [];
  for (const box of document.querySelectorAll("[data-chart]")) {
    const data = JSON.parse(document.getElementById(box.dataset.chart).textContent);
    box.hidden = false;
    if (data.kind === "bars") box.style.height = `${Math.max(6, 2.2 * data.labels.length + 3)}rem`;
    // On a phone each name of the legend takes a line, which the bars must not pay for.
    else if (innerWidth < 640 && data.series.length > 4) box.style.height = `${14 + 1.5 * data.series.length}rem`;
    const chart = draw(box.querySelector("canvas"), data);
    charts.push([chart, data]);
    if (data.kind !== "bars") zoom(box, chart, data);
  }
  document.addEventListener("themechange", () => {
    for (const [chart, data] of charts) { chart.options = options(data); chart.update("none"); }
  });
  window.usageCharts = { draw, options, colour }; // The part that moves draws like the rest.

  // The viewer's own zone, unless they chose another: told to the server by a cookie, once.
  const form = document.querySelector("[data-zone]");
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (form && own && !new URLSearchParams(location.search).has("zone") && form.dataset.zone !== own) {
    document.cookie = `usage_zone=${own}; path=/usage/; max-age=31536000; samesite=lax`;
    const told = document.cookie.includes(`usage_zone=${own}`);
    if (told && sessionStorage.getItem("usage_zone") !== own) {
      sessionStorage.setItem("usage_zone", own);
      location.reload();
    }
  }
  const zones = document.getElementById("zones");
  if (zones && Intl.supportedValuesOf) {
    for (const name of ["UTC", ...Intl.supportedValuesOf("timeZone")]) {
      const option = document.createElement("option");
      option.value = name;
      zones.append(option);
    }
  }
})();
