/* ---------- crystal geometry */
const V = {
  add: (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]],
  sub: (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]],
  mul: (a, k) => [a[0] * k, a[1] * k, a[2] * k],
  dot: (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2],
  cross: (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]],
  len: (a) => Math.hypot(...a),
  unit: (a) => V.mul(a, 1 / (Math.hypot(...a) || 1)),
};
const cart = (L, f) => V.add(V.add(V.mul(L[0], f[0]), V.mul(L[1], f[1])), V.mul(L[2], f[2]));
function images(L, reach) {
  const vol = Math.abs(V.dot(L[0], V.cross(L[1], L[2]))),
    k = [0, 1, 2].map((i) => Math.ceil((reach * V.len(V.cross(L[(i + 1) % 3], L[(i + 2) % 3]))) / vol)),
    out = [];
  for (let a = -k[0]; a <= k[0]; a++)
    for (let b = -k[1]; b <= k[1]; b++) for (let c = -k[2]; c <= k[2]; c++) out.push([a, b, c]);
  return out;
}
function shell(L, frac, want, centre, reach = 3.6, within = 0) {
  const near = [];
  for (const im of images(L, reach + 0.01))
    for (const i of want) {
      const d = V.sub(cart(L, V.add(frac[i], im)), cart(L, centre)),
        r = V.len(d);
      if (r > 0.4 && r < reach) near.push({ i, im, d: r, v: d });
    }
  near.sort((a, b) => a.d - b.d);
  if (within) return near.filter((a) => a.d <= within * near[0].d).slice(0, 12);
  let cut = near.length,
    best = -1;
  for (let k = 2; k < near.length; k++) {
    const gap = 1 / near[k - 1].d - 1 / near[k].d;
    if (gap > best + 1e-6) {
      best = gap;
      cut = k;
    }
  }
  return near.slice(0, Math.min(cut, 12));
}
function hull3(points) {
  /* triangles of the convex hull of a few points, facets of more corners as fans */
  const faces = [],
    seen = new Set(),
    n = points.length,
    c = V.mul(points.reduce(V.add, [0, 0, 0]), 1 / n);
  for (let i = 0; i < n; i++)
    for (let j = i + 1; j < n; j++)
      for (let k = j + 1; k < n; k++) {
        let nn = V.cross(V.sub(points[j], points[i]), V.sub(points[k], points[i]));
        if (V.len(nn) < 1e-3) continue;
        nn = V.unit(nn);
        if (V.dot(nn, V.sub(points[i], c)) < 0) nn = V.mul(nn, -1);
        const off = points.map((p) => V.dot(nn, V.sub(p, points[i])));
        if (off.some((o) => o > 0.12)) continue;
        const on = off.map((o, m) => (Math.abs(o) < 0.12 ? m : -1)).filter((m) => m >= 0),
          key = on.join(",");
        if (seen.has(key)) continue;
        seen.add(key);
        const mid = V.mul(on.map((m) => points[m]).reduce(V.add), 1 / on.length),
          u = V.unit(V.sub(points[on[0]], mid)),
          w = V.cross(nn, u);
        faces.push({
          n: nn,
          p: on
            .sort(
              (a, b) =>
                Math.atan2(V.dot(w, V.sub(points[a], mid)), V.dot(u, V.sub(points[a], mid))) -
                Math.atan2(V.dot(w, V.sub(points[b], mid)), V.dot(u, V.sub(points[b], mid))),
            )
            .map((m) => points[m]),
        });
      }
  return faces;
}
/* st: {lattice, numbers, frac, nHost, ghosts:[frac]}; one description for the drawing, for 3Dmol and for files */
function scene(st, mode) {
  const L = st.lattice,
    len = L.map(V.len),
    rep = len.map((l) =>
      st.cells === 1 ? 1 : Math.max(1, Math.min(4, Math.ceil((l === Math.min(...len) ? 4.6 : 7.6) / l))),
    );
  while (rep[0] * rep[1] * rep[2] * st.frac.length > 260 && Math.max(...rep) > 1) rep[rep.indexOf(Math.max(...rep))]--;
  const eps = 0.03,
    out = { atoms: [], faces: [], bonds: [], edges: [], axes: [] };
  const els = st.numbers.map((z) => EL[z]),
    hostIdx = els.map((_, i) => i).filter((i) => i < st.nHost),
    anions = hostIdx.filter((i) => ANION.has(els[i])),
    cations = hostIdx.filter((i) => !ANION.has(els[i])),
    salt = anions.length > 0 && cations.length > 0;
  const seen = new Set(),
    key = (p) => p.map((x) => Math.round(x * 20)).join(",");
  const copies = (f) => {
    const w = f.map((x) => x - Math.floor(x + 1e-6)),
      list = [];
    for (let a = -1; a <= rep[0]; a++)
      for (let b = -1; b <= rep[1]; b++)
        for (let c = -1; c <= rep[2]; c++) {
          const g = [w[0] + a, w[1] + b, w[2] + c];
          if (g.every((x, i) => x > -eps && x < rep[i] + eps)) list.push(g);
        }
    return list;
  };
  const atom = (p, el, kind, id) => {
    const k = `${kind === "ghost" ? "g" : ""}${key(p)}`;
    if (seen.has(k)) return;
    seen.add(k);
    out.atoms.push({ p, el, kind, id });
  };
  st.frac.forEach((f, i) => {
    for (const g of copies(f)) atom(cart(L, g), els[i], i < st.nHost ? "host" : "guest", i);
  });
  for (const f of st.ghosts || []) for (const g of copies(f)) atom(cart(L, g), st.ghostOf, "ghost", -1);
  if (mode !== "atoms")
    for (const i of cations) {
      /* wider than the gap rule: an octahedron that is stretched along one axis stays one */
      const near = shell(L, st.frac, salt ? anions : hostIdx, st.frac[i], 3.6, salt ? 1.28 : 0),
        around = near;
      for (const g of copies(st.frac[i])) {
        const c = cart(L, g),
          pts = around.map((a) => V.add(c, a.v));
        if (salt) around.forEach((a, k) => atom(pts[k], els[a.i], "host", a.i));
        if (mode === "poly" && salt && pts.length > 3) for (const f of hull3(pts)) out.faces.push({ ...f, el: els[i] });
        else
          for (let k = 0; k < pts.length; k++)
            if (salt || out.atoms.some((x) => V.len(V.sub(x.p, pts[k])) < 0.05))
              out.bonds.push({ a: c, b: pts[k], ea: els[i], eb: els[around[k].i], kind: "host" });
      }
    }
  for (let i = st.nHost; i < st.frac.length; i++) {
    const around = shell(L, st.frac, salt ? anions : hostIdx, st.frac[i], 3.2);
    for (const g of copies(st.frac[i]))
      for (const a of around) {
        const c = cart(L, g),
          q = V.add(c, a.v);
        if (out.atoms.some((x) => x.kind === "host" && V.len(V.sub(x.p, q)) < 0.05))
          out.bonds.push({ a: c, b: q, ea: els[i], eb: els[a.i], kind: "guest", d: a.d });
      }
  }
  const corner = (a, b, c) => cart(L, [a, b, c]);
  for (const [a, b] of [
    [0, 1],
    [0, 2],
    [0, 4],
    [1, 3],
    [1, 5],
    [2, 3],
    [2, 6],
    [3, 7],
    [4, 5],
    [4, 6],
    [5, 7],
    [6, 7],
  ])
    out.edges.push([corner(a & 1, (a >> 1) & 1, a >> 2), corner(b & 1, (b >> 1) & 1, b >> 2)]);
  ["a", "b", "c"].forEach((t, i) => out.axes.push([t, V.mul(L[i], 1 + 0.95 / len[i])]));
  return out;
}
function turn(L, along) {
  /* rows: right, up, towards the reader */
  const len = L.map(V.len),
    i = along === "tilt" ? len.indexOf(Math.min(...len)) : "abc".indexOf(along),
    rest = [0, 1, 2].filter((k) => k !== i).sort((a, b) => len[b] - len[a]),
    z = V.unit(L[i]),
    up0 = L[rest[0]],
    x0 = L[rest[1]];
  let x = V.unit(V.sub(x0, V.mul(z, V.dot(x0, z)))),
    y = V.cross(z, x);
  if (V.dot(y, up0) < 0) {
    y = V.mul(y, -1);
    x = V.cross(y, z);
  }
  let R = [x, y, z];
  if (along === "tilt") {
    const rot = (R, p, q, deg) => {
      const t = (deg * Math.PI) / 180,
        o = [...R];
      o[p] = V.add(V.mul(R[p], Math.cos(t)), V.mul(R[q], -Math.sin(t)));
      o[q] = V.add(V.mul(R[p], Math.sin(t)), V.mul(R[q], Math.cos(t)));
      return o;
    };
    R = rot(R, 0, 2, -13);
    R = rot(R, 1, 2, 9);
  }
  return R;
}
