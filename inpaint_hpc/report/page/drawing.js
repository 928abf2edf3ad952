/* The drawing: an SVG of a scene, also for print and where there is no WebGL. */
let uid = 0;
function poster(sc, R, W, H, small) {
  const id = ++uid,
    P = (p) => [V.dot(R[0], p), -V.dot(R[1], p), V.dot(R[2], p)],
    all = sc.atoms
      .filter((a) => !small || a.kind !== "ghost")
      .map((a) => P(a.p))
      .concat(sc.edges.flat().map(P)),
    min = [0, 1, 2].map((i) => Math.min(...all.map((p) => p[i]))),
    max = [0, 1, 2].map((i) => Math.max(...all.map((p) => p[i]))),
    m = small ? 15 : 40,
    k = Math.min((W - 2 * m) / (max[0] - min[0] || 1), (H - 2 * m) / (max[1] - min[1] || 1), small ? 40 : 62);
  const Q = (p) => {
      const q = P(p);
      return [W / 2 + k * (q[0] - (min[0] + max[0]) / 2), H / 2 + k * (q[1] - (min[1] + max[1]) / 2), q[2]];
    },
    fog = (z) => Math.round(100 - 52 * ((max[2] - z) / (max[2] - min[2] || 1))),
    items = [],
    used = new Set();
  const dim = (el, z, pct = 62) =>
    `color-mix(in srgb, color-mix(in srgb, ${colour(el)} ${pct}%, var(--ink3)) ${fog(z)}%, var(--fog))`;
  for (const f of sc.faces) {
    const q = f.p.map(Q),
      z = q.reduce((a, b) => a + b[2], 0) / q.length,
      facing = Math.abs(V.dot(R[2], f.n));
    items.push([
      z - 0.05,
      s("polygon", {
        points: q.map((p) => `${p[0].toFixed(1)},${p[1].toFixed(1)}`).join(" "),
        "stroke-linejoin": "round",
        style: {
          fill: dim(f.el, z, 75),
          fillOpacity: 0.13 + 0.16 * facing,
          stroke: dim(f.el, z, 80),
          strokeWidth: small ? 0.5 : 0.9,
          strokeOpacity: 0.55,
        },
      }),
    ]);
  }
  for (const b of sc.bonds) {
    const p = Q(b.a),
      q = Q(b.b),
      z = (p[2] + q[2]) / 2;
    items.push([
      z,
      s("line", {
        x1: p[0],
        y1: p[1],
        x2: q[0],
        y2: q[1],
        "stroke-linecap": "round",
        style:
          b.kind === "guest"
            ? {
                stroke: "var(--ring)",
                strokeWidth: small ? 0.8 : 1.4,
                strokeDasharray: small ? "2 2" : "4 3",
                strokeOpacity: fog(z) / 120,
              }
            : { stroke: dim(b.ea, z), strokeWidth: small ? 1.5 : 3.4, strokeOpacity: 0.65 },
      }),
    ]);
  }
  for (const a of sc.atoms) {
    const q = Q(a.p),
      r = k * (a.kind === "guest" ? (small ? 0.66 : 0.52) : a.kind === "ghost" ? 0.3 : ANION.has(a.el) ? 0.15 : 0.21);
    if (a.kind === "ghost" && small) continue;
    used.add(`${a.kind === "guest" ? "G" : "H"}${a.el}`);
    if (a.kind === "guest")
      items.push([
        q[2] + 0.4,
        s(
          "g",
          {},
          s("circle", {
            cx: q[0],
            cy: q[1],
            r,
            style: { fill: `url(#g${id}G${a.el})`, stroke: "var(--ring)", strokeWidth: small ? 1.3 : 2.2 },
          }),
          small
            ? null
            : s(
                "text",
                {
                  x: q[0],
                  y: q[1] + r * 0.3,
                  "text-anchor": "middle",
                  style: { font: `700 ${Math.max(10, r * 0.85)}px var(--font)`, fill: "#15202b" },
                },
                a.el,
              ),
        ),
      ]);
    else if (a.kind === "ghost")
      items.push([
        q[2] + 0.3,
        s("circle", {
          cx: q[0],
          cy: q[1],
          r,
          style: {
            fill: colour(a.el),
            fillOpacity: 0.4,
            stroke: "var(--ring)",
            strokeWidth: 1.2,
            strokeDasharray: "2.5 2.5",
          },
        }),
      ]);
    else
      items.push([
        q[2],
        s("circle", {
          cx: q[0],
          cy: q[1],
          r,
          style: { fill: dim(a.el, q[2], 58), stroke: dim(a.el, q[2], 40), strokeWidth: small ? 0.3 : 0.8 },
        }),
      ]);
  }
  items.sort((a, b) => a[0] - b[0]);
  const edge = (op) =>
    s(
      "g",
      { style: { stroke: "var(--ink2)", strokeWidth: small ? 0.7 : 1.2, strokeOpacity: op } },
      sc.edges.map(([a, b]) => {
        const p = Q(a),
          q = Q(b);
        return s("line", { x1: p[0], y1: p[1], x2: q[0], y2: q[1] });
      }),
    );
  const svg = s(
    "svg",
    {
      viewBox: `0 0 ${W} ${H}`,
      role: small ? "presentation" : "img",
      "aria-label": small ? null : "Picture of the structure",
      preserveAspectRatio: "xMidYMid meet",
    },
    s(
      "defs",
      {},
      [...used]
        .filter((u) => u[0] === "G")
        .map((u) =>
          s(
            "radialGradient",
            { id: `g${id}${u}`, cx: "35%", cy: "32%", r: "75%" },
            s("stop", { offset: "0%", style: { stopColor: `color-mix(in srgb, ${colour(u.slice(1))} 45%, white)` } }),
            s("stop", { offset: "55%", style: { stopColor: colour(u.slice(1)) } }),
            s("stop", { offset: "100%", style: { stopColor: `color-mix(in srgb, ${colour(u.slice(1))} 70%, black)` } }),
          ),
        ),
    ),
    edge(0.3),
    items.map((i) => i[1]),
    edge(0.35),
  );
  if (!small)
    for (const [t, p] of sc.axes) {
      const q = Q(p),
        o = Q([0, 0, 0]);
      if (Math.hypot(q[0] - o[0], q[1] - o[1]) > 14)
        svg.append(
          s(
            "text",
            {
              x: q[0],
              y: q[1] + 4,
              "text-anchor": "middle",
              style: { font: "italic 600 13px var(--font)", fill: "var(--ink2)" },
            },
            t,
          ),
        );
    }
  return svg;
}
