/* Charts. */
const scale = (d0, d1, r0, r1) => (x) => r0 + ((x - d0) / (d1 - d0 || 1)) * (r1 - r0);
function ticks(a, b, n = 5) {
  const raw = (b - a) / n,
    p = 10 ** Math.floor(Math.log10(raw)),
    step = [1, 2, 2.5, 5, 10].map((m) => m * p).find((m) => m >= raw),
    out = [];
  for (let x = Math.ceil(a / step - 1e-9) * step; x <= b + 1e-9; x += step) out.push(Number(x.toFixed(10)));
  return out;
}
function scatter(rows) {
  const W = 470,
    H = 204,
    L = 46,
    R = 12,
    T = 14,
    B = 40,
    volts = state.voltages,
    value = (r) => (volts ? r.voltage : r.energy),
    has = rows.filter((r) => value(r) !== null && r.confidence !== null);
  if (has.length < 2) return null;
  const lo = Math.min(volts ? 0 : Infinity, ...has.map(value)),
    hi = Math.max(volts ? 0 : -Infinity, ...has.map(value)),
    yLo = Math.min(0.5, ...has.map((r) => Math.floor(r.confidence * 10) / 10 - 0.05));
  const X = scale(lo - 0.25, hi + 0.25, L, W - R),
    Y = scale(yLo, 1.03, H - B, T),
    digits = ticks(lo, hi).some((x) => x % 1) ? 1 : 0;
  const svg = s("svg", {
    class: "chart",
    viewBox: `0 0 ${W} ${H}`,
    role: "img",
    "aria-label": `${volts ? "Voltage" : "Energy per guest"} against how sure, ${has.length} results`,
  });
  for (const y of [0.2, 0.4, 0.6, 0.8, 1].filter((y) => y >= yLo))
    svg.append(
      s("line", { class: "grid", x1: L, x2: W - R, y1: Y(y), y2: Y(y) }),
      s("text", { x: L - 8, y: Y(y) + 4, "text-anchor": "end" }, `${Math.round(100 * y)} %`),
    );
  for (const x of ticks(lo, hi))
    svg.append(s("text", { x: X(x), y: H - B + 17, "text-anchor": "middle" }, num(x, digits)));
  svg.append(
    s("line", { class: "axis", x1: L, x2: W - R, y1: H - B, y2: H - B }),
    s(
      "text",
      { x: W - R, y: H - 6, "text-anchor": "end" },
      volts ? "voltage, V" : "energy, eV per guest (lower is better)",
    ),
    s("text", { x: L - 34, y: T - 3, class: "note" }, "how sure"),
  );
  if (volts && lo < 0) svg.append(s("line", { class: "zero", x1: X(0), x2: X(0), y1: T, y2: H - B }));
  if (has.length > 400) {
    const bx = 46,
      by = 22,
      bins = new Map();
    for (const r of has) {
      const i = Math.min(bx - 1, Math.floor(((X(value(r)) - L) / (W - R - L)) * bx)),
        j = Math.min(by - 1, Math.floor(((Y(r.confidence) - T) / (H - B - T)) * by)),
        k = i + bx * j;
      bins.set(k, (bins.get(k) || 0) + 1);
    }
    const most = Math.log(1 + Math.max(...bins.values())),
      w = (W - R - L) / bx,
      hh = (H - B - T) / by;
    for (const [k, n] of bins)
      svg.append(
        s(
          "rect",
          {
            class: "cell",
            x: L + (k % bx) * w,
            y: T + Math.floor(k / bx) * hh,
            width: w - 0.6,
            height: hh - 0.6,
            style: { opacity: 0.15 + (0.85 * Math.log(1 + n)) / most },
          },
          s("title", {}, plural(n, "result")),
        ),
      );
  } else
    for (const r of [...has].sort((a, b) => value(b) - value(a)))
      svg.append(
        s(
          "a",
          { href: address(r), "aria-label": `${safe(r.host)}, ${r.ion}` },
          s(
            "title",
            {},
            `${safe(r.host)}, ${r.ion}: ${num(value(r), 2)} ${volts ? "V" : "eV"}, ${percent(r.confidence)} sure`,
          ),
          mark(r.ion, X(value(r)), Y(r.confidence), 6.5, "mark"),
        ),
      );
  svg.title = volts ? "Voltage and certainty" : "Energy and certainty";
  return svg;
}
function hullChart(p, pick, picked) {
  const W = 440,
    H = 250,
    L = 52,
    R = 14,
    T = 16,
    B = 42,
    fu = p.units,
    pts = [{ guests: 0, formation_energy_eV: 0, stable: true, above_hull_eV: 0 }, ...p.filled],
    nMax = Math.max(...pts.map((q) => q.guests)),
    y = (q) => (1000 * q.formation_energy_eV) / fu;
  const lo = Math.min(0, ...pts.map(y)),
    hi = Math.max(0, ...pts.map(y)),
    X = scale(0, nMax / fu, L, W - R),
    Y = scale(lo - 0.12 * (hi - lo || 1), hi + 0.08 * (hi - lo || 1), H - B, T),
    svg = s("svg", {
      class: "chart",
      viewBox: `0 0 ${W} ${H}`,
      role: "group",
      "aria-label": `Hull: formation energy of ${pts.length} fillings`,
    });
  for (const t of ticks(lo, hi, 4))
    svg.append(
      s("line", { class: "grid", x1: L, x2: W - R, y1: Y(t), y2: Y(t) }),
      s("text", { x: L - 8, y: Y(t) + 4, "text-anchor": "end" }, num(t, 0)),
    );
  xAxis(svg, p, nMax, X, H, B, L, W, R);
  svg.append(
    s(
      "text",
      { class: "note", x: 2, y: T - 4 },
      "meV per ",
      subscript(p.unit),
    ),
    s("polyline", {
      class: "main",
      points: pts
        .filter((q) => q.stable)
        .map((q) => `${X(q.guests / fu)},${Y(y(q))}`)
        .join(" "),
    }),
  );
  pts.forEach((q, i) => {
    const dot = s("circle", {
        class: `pt${q.stable ? "" : " off"}${picked >= 0 && picked === i - 1 ? " sel" : ""}`,
        cx: X(q.guests / fu),
        cy: Y(y(q)),
        r: 6,
      }),
      label = `${q.guests} ${p.ion || ""}: ${q.stable ? "on the hull" : `${num((1000 * q.above_hull_eV) / fu, 0)} meV per formula above it`}`;
    svg.append(
      q.label
        ? s(
            "a",
            {
              href: "#",
              role: "button",
              tabindex: 0,
              "aria-label": `${label}; open it`,
              onclick: (e) => {
                e.preventDefault();
                pick(i - 1);
              },
              onkeydown: (e) => {
                if (e.key === " ") {
                  e.preventDefault();
                  pick(i - 1);
                }
              },
            },
            s("title", {}, `${label}. Click: open it`),
            dot,
          )
        : dot,
    );
  });
  return svg;
}
const subscript = (text) => text.replace(/\d/g, (d) => "₀₁₂₃₄₅₆₇₈₉"[d]);
/* ticks at whole numbers of guests, at most nine, and then at parts and multiples of a formula unit: 0, ¼, ½ or 0, 1, 2 */
function wholeTicks(nMax, fu) {
  const parts = Array.from({ length: fu }, (_, i) => i + 1).filter((k) => fu % k === 0),
    steps = [...parts, ...[2, 5, 10, 20, 50, 100].map((k) => k * fu)],
    step = steps.find((k) => nMax / k <= 8) || nMax,
    out = [];
  for (let n = 0; n <= nMax; n += step) out.push(n);
  return out;
}
function xAxis(svg, p, nMax, X, H, B, L, W, R) {
  svg.append(s("line", { class: "axis", x1: L, x2: W - R, y1: H - B, y2: H - B }));
  for (const n of wholeTicks(nMax, p.units)) {
    const x = X(n / p.units);
    svg.append(
      s("line", { class: "axis", x1: x, x2: x, y1: H - B, y2: H - B + 4 }),
      s("text", { class: "xtick", x, y: H - B + 18, "text-anchor": "middle" }, xText(p.x_empty + n / p.units)),
    );
  }
  svg.append(
    s("text", { x: (L + W - R) / 2, y: H - 6, "text-anchor": "middle" }, `x in ${p.ion}ₓ${subscript(p.unit)}`),
  );
}
const xText = (x) => String(Number(x.toFixed(2)));
function voltageChart(p) {
  const W = 440,
    H = 250,
    L = 40,
    R = 14,
    T = 30,
    B = 42,
    fu = p.units,
    nMax = Math.max(...p.steps.map((q) => q.to)),
    v = p.steps.map((q) => q.voltage_V),
    lo = Math.min(...v),
    hi = Math.max(...v),
    X = scale(0, nMax / fu, L, W - R),
    Y = scale(Math.floor(2 * lo - 0.5) / 2, Math.ceil(2 * hi + 0.2) / 2, H - B, T);
  const svg = s("svg", {
    class: "chart",
    viewBox: `0 0 ${W} ${H}`,
    role: "img",
    "aria-label": `Voltage: ${p.steps.map((q) => `${q.from} to ${q.to} ${p.ion} ${num(q.voltage_V, 2)} V`).join(", ")}`,
  });
  for (const t of ticks(Math.floor(2 * lo - 0.5) / 2, Math.ceil(2 * hi + 0.2) / 2, 5))
    svg.append(
      s("line", { class: "grid", x1: L, x2: W - R, y1: Y(t), y2: Y(t) }),
      s("text", { x: L - 8, y: Y(t) + 4, "text-anchor": "end" }, num(t, 1)),
    );
  xAxis(svg, p, nMax, X, H, B, L, W, R);
  const full = p.total.capacity_mAh_per_g_host;
  if (full)
    for (const q of ticks(0, full, 4))
      svg.append(
        s("line", {
          class: "axis",
          x1: X(((q / full) * nMax) / fu),
          x2: X(((q / full) * nMax) / fu),
          y1: T,
          y2: T - 4,
        }),
        s(
          "text",
          { class: "note", x: X(((q / full) * nMax) / fu), y: T - 8, "text-anchor": "middle" },
          q ? num(q, 0) : "0 mAh/g",
        ),
      );
  svg.append(
    s("line", { class: "axis", x1: L, x2: W - R, y1: T, y2: T }),
    s("text", { class: "note", x: 0, y: T - 8 }, "V"),
  );
  svg.append(
    s("polyline", {
      class: "main",
      points: p.steps
        .flatMap((q) => [`${X(q.from / fu)},${Y(q.voltage_V)}`, `${X(q.to / fu)},${Y(q.voltage_V)}`])
        .join(" "),
    }),
  );
  for (const q of p.steps)
    svg.append(
      s(
        "text",
        { class: "val", x: X((q.from + q.to) / 2 / fu), y: Y(q.voltage_V) - 7, "text-anchor": "middle" },
        num(q.voltage_V, 2),
      ),
    );
  return svg;
}
