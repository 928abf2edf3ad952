"use strict";
/* Elements of the page, numbers, elements of the periodic table, icons.  Everything that comes from data goes through text nodes or attributes set one by one; there is no innerHTML. */
const $ = (s, e = document) => e.querySelector(s),
  SVGNS = "http://www.w3.org/2000/svg";
function put(e, props, kids) {
  for (const [k, v] of Object.entries(props || {})) {
    if (v === null || v === undefined || v === false) continue;
    if (k === "class") e.setAttribute("class", v);
    else if (k === "style")
      for (const [p, x] of Object.entries(v)) p.startsWith("--") ? e.style.setProperty(p, x) : (e.style[p] = x);
    else if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else e.setAttribute(k, v === true ? "" : v);
  }
  for (const kid of kids.flat(9))
    if (kid !== null && kid !== undefined && kid !== false) e.append(kid.nodeType ? kid : String(kid));
  return e;
}
const fill = (e, ...kids) => {
  e.replaceChildren();
  return put(e, null, kids);
};
const h = (tag, props, ...kids) => put(document.createElement(tag), props, kids);
const s = (tag, props, ...kids) => put(document.createElementNS(SVGNS, tag), props, kids);
const num = (x, d) =>
  x === null || x === undefined || !isFinite(x) ? "–" : (Number(x.toFixed(d)) < 0 ? "−" : "") + Math.abs(x).toFixed(d);
/* control and direction marks are shown, not obeyed: a host name must not turn the line around */
const safe = (t) =>
  String(t).replace(
    /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (c) => `\u27e8${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`,
  );
const count = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const percent = (p) => (p === null ? "–" : p > 0.995 ? "> 99 %" : p < 0.01 ? "< 1 %" : `${Math.round(100 * p)} %`);
const sureWord = (p) =>
  p === null ? "not known" : p >= 0.95 ? "sure" : p >= 0.8 ? "fairly sure" : p >= 0.5 ? "unsure" : "a guess";
const plural = (n, one, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;
const seconds = (t) =>
  t < 120 ? `${num(t, t < 10 ? 1 : 0)} s` : t < 7200 ? `${num(t / 60, 0)} min` : `${num(t / 3600, 1)} h`;
const EL =
  "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og".split(
    " ",
  );
const JMOL = {
  H: "#ffffff",
  Li: "#cc80ff",
  Be: "#c2ff00",
  B: "#ffb5b5",
  C: "#909090",
  N: "#3050f8",
  O: "#ff0d0d",
  F: "#90e050",
  Na: "#ab5cf2",
  Mg: "#8aff00",
  Al: "#bfa6a6",
  Si: "#f0c8a0",
  P: "#ff8000",
  S: "#ffff30",
  Cl: "#1ff01f",
  K: "#8f40d4",
  Ca: "#3dff00",
  Sc: "#e6e6e6",
  Ti: "#bfc2c7",
  V: "#a6a6ab",
  Cr: "#8a99c7",
  Mn: "#9c7ac7",
  Fe: "#e06633",
  Co: "#f090a0",
  Ni: "#50d050",
  Cu: "#c88033",
  Zn: "#7d80b0",
  Rb: "#702eb0",
  Sr: "#00ff00",
  Y: "#94ffff",
  Zr: "#94e0e0",
  Nb: "#73c2c9",
  Mo: "#54b5b5",
  Cs: "#57178f",
  Ba: "#00c900",
};
const ANION = new Set(["N", "O", "F", "P", "S", "Cl", "Se", "Br", "Te", "I"]);
const colour = (el) => JMOL[el] || "#d0609a";
const formulaDom = (f, div = 1) => f.map(([el, n]) => [el, n / div === 1 ? null : h("sub", {}, n / div)]);
const ICON = {
  search: "M7 1.8a5.2 5.2 0 1 0 0 10.4A5.2 5.2 0 0 0 7 1.8ZM11 11l3.6 3.6",
  moon: "M13.5 9.6A5.8 5.8 0 0 1 6.4 2.5a5.8 5.8 0 1 0 7.1 7.1Z",
  print: "M4 6V1.8h8V6M4 12H2V6.5h12V12h-2M4 9.8h8v4.4H4z",
  help: "M5.6 6a2.4 2.4 0 1 1 3.6 2.1c-.8.5-1.2.9-1.2 1.9M8 12.4v.2",
  back: "M10 3 5 8l5 5",
  next: "m6 3 5 5-5 5",
  warn: "M8 2 14.6 13.6H1.4ZM8 6.4v3.4M8 11.6v.2",
  bad: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8ZM5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8",
  note: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8ZM8 7.2v3.8M8 4.9v.2",
  down: "M8 2v8M4.6 7 8 10.4 11.4 7M2.5 13.6h11",
  turn: "M2.2 8c0-1.6 2.6-2.8 5.8-2.8s5.8 1.2 5.8 2.8-2.6 2.8-5.8 2.8M8 2.2c1.6 0 2.8 2.6 2.8 5.8S9.600 13.800 8 13.800M9.500 9 7.500 10.800l2 1.900",
  close: "M3.5 3.500l9 9M12.500 3.500l-9 9",
};
const icon = (name) =>
  s(
    "svg",
    {
      viewBox: "0 0 16 16",
      "aria-hidden": "true",
      fill: "none",
      stroke: "currentColor",
      "stroke-width": 1.5,
      "stroke-linecap": "round",
      "stroke-linejoin": "round",
    },
    s("path", { d: ICON[name] }),
  );
/* an ion has a shape, a colour and its symbol, never a colour alone */
const SHAPES = ["circle", "up", "square", "diamond", "down"];
let ions = [];
function mark(ion, x, y, r, cls = "mark") {
  const shape = SHAPES[Math.max(0, ions.indexOf(ion)) % SHAPES.length],
    fill = colour(ion);
  const poly = (p) =>
    s("polygon", { class: cls, points: p.map(([a, b]) => `${x + a * r},${y + b * r}`).join(" "), style: { fill } });
  if (shape === "up")
    return poly([
      [0, -1.15],
      [1.08, 0.8],
      [-1.08, 0.8],
    ]);
  if (shape === "down")
    return poly([
      [0, 1.15],
      [1.08, -0.8],
      [-1.08, -0.8],
    ]);
  if (shape === "square")
    return poly([
      [-0.9, -0.9],
      [0.9, -0.9],
      [0.9, 0.9],
      [-0.9, 0.9],
    ]);
  if (shape === "diamond")
    return poly([
      [0, -1.2],
      [1.2, 0],
      [0, 1.2],
      [-1.2, 0],
    ]);
  return s("circle", { class: cls, cx: x, cy: y, r, style: { fill } });
}
const ionDom = (ion, text) =>
  h(
    "span",
    { class: "ion" },
    s("svg", { viewBox: "0 0 16 16", "aria-hidden": "true", class: "chart" }, mark(ion, 8, 8, 6)),
    text,
  );
