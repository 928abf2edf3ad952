/* The 3D view by 3Dmol: one viewer, and another for what is compared with it, made on a click and kept. */
const GL = { made: [], lib: null };
const hexMix = (a, b, t) => {
  const p = (x) => [1, 3, 5].map((i) => parseInt(x.slice(i, i + 2), 16)),
    x = p(a),
    y = p(b);
  return (
    "#" +
    x
      .map((v, i) =>
        Math.round(v * t + y[i] * (1 - t))
          .toString(16)
          .padStart(2, "0"),
      )
      .join("")
  );
};
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const hasWebgl = () => {
  try {
    const c = document.createElement("canvas"),
      g = c.getContext("webgl2") || c.getContext("webgl");
    g?.getExtension("WEBGL_lose_context")?.loseContext();
    return Boolean(g);
  } catch {
    return false;
  }
};
function getLib() {
  return (GL.lib ||= inflate("viewer").then((text) => {
    const e = document.createElement("script");
    e.textContent = text;
    document.head.append(e);
    return window.$3Dmol;
  }));
}
const xyz = (p) => ({ x: p[0], y: p[1], z: p[2] });
async function viewer(box, sc, R, keep, onHover, slot = 0) {
  const lib = await getLib();
  let v = GL.made[slot];
  if (!v) {
    const node = h("div", { class: "gl" });
    box.append(node);
    v = GL.made[slot] = {
      node,
      view: lib.createViewer(node, {
        backgroundColor: css("--stage"),
        antialias: true,
        orthographic: true,
        hoverDuration: 60,
      }),
    };
    const canvas = node.querySelector("canvas");
    canvas.setAttribute("tabindex", "0");
    canvas.setAttribute("role", "img");
    canvas.addEventListener("keydown", (e) => {
      const a = { ArrowLeft: ["y", -10], ArrowRight: ["y", 10], ArrowUp: ["x", -10], ArrowDown: ["x", 10] }[e.key];
      if (a) {
        e.preventDefault();
        v.view.rotate(a[1], a[0]);
      } else if (e.key === "+" || e.key === "-") v.view.zoom(e.key === "+" ? 1.15 : 0.87);
    });
  } else if (v.node.parentNode !== box) {
    box.append(v.node);
    keep = false;
  }
  v.view.resize(); /* the box may have another width now, and 3Dmol does not watch it */
  const g = v.view,
    old = keep ? g.getView() : null,
    paper = css("--stage"),
    grey = css("--ink3");
  v.node.querySelector("canvas").setAttribute("aria-label", "Structure in 3D; arrow keys rotate, plus and minus zoom");
  g.removeAllModels();
  g.removeAllShapes();
  g.removeAllLabels();
  g.setBackgroundColor(paper, 1);
  const groups = { host: [], guest: [], ghost: [] };
  for (const a of sc.atoms) groups[a.kind].push(a);
  for (const [kind, list] of Object.entries(groups)) {
    if (!list.length) continue;
    const m = g.addModel();
    m.addAtoms(
      list.map((a, i) => ({
        elem: a.el,
        ...xyz(a.p),
        serial: i,
        bonds: [],
        bondOrder: [],
        properties: { kind, id: a.id },
      })),
    );
    for (const el of new Set(list.map((a) => a.el)))
      m.setStyle(
        { elem: el },
        {
          sphere: {
            radius: kind === "guest" ? 0.52 : kind === "ghost" ? 0.3 : ANION.has(el) ? 0.16 : 0.22,
            color: kind === "host" ? hexMix(hexMix(colour(el), grey, 0.72), paper, 0.82) : colour(el),
            opacity: kind === "ghost" ? 0.5 : 1,
          },
        },
      );
    m.setHoverable(
      {},
      true,
      (a) => onHover(a.properties.kind === "ghost" ? "another place" : `${a.elem}${a.properties.id + 1}`),
      () => onHover(""),
    );
  }
  const byEl = new Map();
  for (const f of sc.faces) {
    if (!byEl.has(f.el)) byEl.set(f.el, { vertexArr: [], normalArr: [], faceArr: [] });
    const t = byEl.get(f.el),
      at = t.vertexArr.length;
    for (const p of f.p) {
      t.vertexArr.push(xyz(p));
      t.normalArr.push(xyz(f.n));
    }
    for (let i = 1; i + 1 < f.p.length; i++) t.faceArr.push(at, at + i, at + i + 1);
  }
  for (const [el, t] of byEl) g.addCustom({ ...t, color: hexMix(colour(el), grey, 0.9), opacity: 0.5 });
  const seen = new Set();
  for (const f of sc.faces)
    f.p.forEach((p, i) => {
      const q = f.p[(i + 1) % f.p.length],
        k = [p, q]
          .map((x) => x.map((y) => y.toFixed(2)).join())
          .sort()
          .join("|");
      if (!seen.has(k) && seen.size < 900) {
        seen.add(k);
        g.addLine({ start: xyz(p), end: xyz(q), color: hexMix(colour(f.el), paper, 0.65) });
      }
    });
  for (const b of sc.bonds)
    g.addCylinder(
      b.kind === "guest"
        ? {
            start: xyz(b.a),
            end: xyz(b.b),
            radius: 0.045,
            color: css("--ink2"),
            dashed: true,
            dashLength: 0.16,
            gapLength: 0.12,
          }
        : {
            start: xyz(b.a),
            end: xyz(b.b),
            radius: 0.07,
            color: hexMix(hexMix(colour(b.ea), grey, 0.6), paper, 0.8),
            fromCap: 2,
            toCap: 2,
          },
    );
  for (const [a, b] of sc.edges) g.addCylinder({ start: xyz(a), end: xyz(b), radius: 0.022, color: css("--ink2") });
  const span = (k) => {
      const q = sc.atoms.map((a) => V.dot(R[k], a.p));
      return Math.max(...q) - Math.min(...q) + 1.2;
    },
    perA = Math.min((0.9 * v.node.clientWidth) / span(0), (0.86 * v.node.clientHeight) / span(1)),
    font = Math.round(Math.min(15, perA * 0.46));
  if (font >= 10)
    for (const a of groups.guest)
      g.addLabel(a.el, {
        position: xyz(a.p),
        fontSize: font,
        padding: 1,
        fontColor: "#15202b",
        showBackground: false,
        inFront: true,
        alignment: "center",
        bold: true,
      });
  for (const [t, p] of sc.axes)
    g.addLabel(t, {
      position: xyz(p),
      fontSize: 14,
      fontColor: css("--ink2"),
      showBackground: false,
      inFront: true,
      alignment: "center",
    });
  if (old) g.setView(old);
  else {
    g.zoomTo();
    aim(g, R);
    g.render();
    const q = g.modelToScreen(sc.atoms.map((a) => xyz(a.p))),
      w = (k) => Math.max(...q.map((p) => p[k])) - Math.min(...q.map((p) => p[k])) + 1,
      f = Math.min((perA * (span(0) - 1.2)) / w("x"), (perA * (span(1) - 1.2)) / w("y")) || 1;
    if (isFinite(f) && f > 0) g.zoom(f);
  }
  g.render();
  if (slot) turnTogether();
  return g;
}
/* once each: a viewer turns all that are linked to it */
function turnTogether() {
  const [a, b] = GL.made.map((v) => v.view);
  for (const [one, other] of [
    [a, b],
    [b, a],
  ]) {
    one.linkedViewers.splice(0);
    one.linkViewer(other);
  }
  b.setView(a.getView());
}
function aim(g, R) {
  /* quaternion of a rotation matrix */
  const t = R[0][0] + R[1][1] + R[2][2],
    q = [0, 0, 0, 1];
  if (t > 0) {
    const k = 2 * Math.sqrt(1 + t);
    q[3] = k / 4;
    q[0] = (R[2][1] - R[1][2]) / k;
    q[1] = (R[0][2] - R[2][0]) / k;
    q[2] = (R[1][0] - R[0][1]) / k;
  } else {
    const i = [0, 1, 2].reduce((a, b) => (R[b][b] > R[a][a] ? b : a)),
      j = (i + 1) % 3,
      l = (i + 2) % 3,
      k = 2 * Math.sqrt(1 + R[i][i] - R[j][j] - R[l][l]);
    q[i] = k / 4;
    q[3] = (R[l][j] - R[j][l]) / k;
    q[j] = (R[j][i] + R[i][j]) / k;
    q[l] = (R[l][i] + R[i][l]) / k;
  }
  const v = g.getView();
  v.splice(4, 4, ...q);
  g.setView(v);
}
