/* Structure and candidates side by side: drawing, 3D view on a click, choices, downloads. */
function structureCard(row, panel, choices, chosen = () => {}) {
  const canRelax = panel.candidates.some((c) => c.relaxed && c.relaxed.frac);
  const ui = { at: 0, relaxed: canRelax, mode: "poly", along: "tilt", ghosts: false, cells: 0, gl: false, second: -1 };
  const others = (i) => panel.candidates.filter((_, k) => k !== i).flatMap((k) => k.frac);
  function structure(i, relaxed) {
    const c = panel.candidates[i],
      x = c && relaxed && c.relaxed && c.relaxed.frac ? c.relaxed : null,
      guests = c ? (x ? x.frac : c.frac) : [],
      n = panel.numbers.length;
    return {
      lattice: (x && x.lattice) || panel.lattice,
      numbers: [...panel.numbers, ...(c ? panel.guests : [])],
      frac: [...((x && x.host) || panel.frac), ...guests],
      nHost: n,
      cells: ui.cells,
      ghosts: c ? (ui.ghosts ? others(i) : []) : panel.sites.flatMap((o) => o.frac),
      ghostOf: row.ion,
      what: c
        ? `candidate ${c.rank + 1}, ${x ? siteName(c) : placedName(c)}, ${x ? "relaxed" : "as placed"}`
        : "all sites of the host",
    };
  }
  const now = () => structure(ui.at, ui.relaxed);
  const poster_ = h("div", { class: "poster" }),
    what = h("div", { class: "what" }),
    stage = h("div", { class: "stage" }, poster_, what),
    stages = h("div", { class: "stages" }, stage);
  let beside = null;
  const legend = h("div", { class: "legend" }),
    status = h("span", { class: "status", "aria-live": "polite" });
  const go = h(
    "button",
    { class: "btn go small primary", type: "button", onclick: rotate },
    icon("turn"),
    "Rotate in 3D",
  );
  async function rotate() {
    fill(go, "Loading…");
    if (!hasWebgl()) {
      fill(go, "No WebGL: drawing only");
      go.disabled = true;
      return;
    }
    ui.gl = true;
    try {
      await draw(true);
    } catch (error) {
      ui.gl = false;
      poster_.style.display = "";
      fill(go, "3D failed: drawing only");
      go.disabled = true;
      console.warn(error);
    }
  }
  async function draw(reset) {
    const st = now(),
      sc = scene(st, ui.mode),
      R = turn(st.lattice, ui.along);
    what.textContent = st.what[0].toUpperCase() + st.what.slice(1);
    const pair = beside;
    stages.classList.toggle("pair", Boolean(pair));
    if (!pair) GL.made[0]?.view.linkedViewers.splice(0);
    await show(stage, poster_, st, sc, R, reset, 0);
    if (pair) {
      const other = structure(ui.second, ui.relaxed);
      await show(pair.stage, pair.poster, other, scene(other, ui.mode), R, reset, 1);
    }
    if (ui.gl) {
      fill(go, icon("turn"), "Reset the view");
      go.classList.remove("primary");
    }
    drawLegend(legend, st, row, status);
    if (cards)
      [...cards.children].forEach((c, i) => {
        c.setAttribute("aria-checked", String(i === ui.at));
        c.tabIndex = i === ui.at ? 0 : -1;
      });
    chosen(ui.at);
  }
  async function show(box, drawn, st, sc, R, reset, slot) {
    drawn.replaceChildren(poster(sc, R, 760, 500));
    drawn.firstChild.setAttribute("aria-label", `Structure: ${st.what}`);
    if (!ui.gl) return;
    await viewer(box, sc, R, !reset, (t) => (status.textContent = t), slot);
    drawn.style.display = "none";
  }
  /* a second candidate beside the first; both turn together */
  async function compare(e) {
    if (!e.target.checked) {
      beside.stage.remove();
      beside = null;
      return draw(true);
    }
    ui.second = ui.at === 0 ? 1 : 0;
    const pick = (event) => {
      ui.second = Number(event.target.value);
      draw(false);
    };
    const options = panel.candidates.map((c, i) =>
      h("option", { value: i, selected: i === ui.second }, `Candidate ${c.rank + 1}, ${siteName(c)}`),
    );
    const chooser = h("select", { class: "what pick", "aria-label": "Compare with", onchange: pick }, options);
    beside = { poster: h("div", { class: "poster" }) };
    beside.stage = h("div", { class: "stage" }, beside.poster, chooser);
    stages.append(beside.stage);
    await draw(true);
  }
  const segment = (label, options, key, reset) => {
    const group = h("div", { class: "seg", role: "group", "aria-label": label });
    const set = (v) => () => {
      ui[key] = v;
      group.paint();
      draw(reset);
    };
    group.paint = () =>
      group.replaceChildren(
        ...options.map(([v, text, off]) =>
          h("button", { type: "button", "aria-pressed": String(ui[key] === v), disabled: off, onclick: set(v) }, text),
        ),
      );
    group.paint();
    return group;
  };
  function choose(i, focus) {
    ui.at = i;
    draw(false);
    if (focus) cards.children[i].focus();
    $("#live").textContent = `Candidate ${i + 1}, ${siteName(panel.candidates[i])}`;
  }
  const view = segment(
    "Which positions",
    [
      [false, "As placed"],
      [true, "Relaxed", !canRelax],
    ],
    "relaxed",
    false,
  );
  const ghosts = (e) => {
    ui.ghosts = e.target.checked;
    draw(false);
  };
  const several = panel.candidates.length > 1;
  const bar = h(
    "div",
    { class: "vbar", role: "toolbar", "aria-label": "Structure" },
    canRelax ? view : null,
    several
      ? [
          h("label", { class: "check" }, h("input", { type: "checkbox", onchange: ghosts }), "other candidates"),
          h("label", { class: "check noprint" }, h("input", { type: "checkbox", onchange: compare }), "compare two"),
        ]
      : null,
    h("span", { class: "grow" }),
    go,
  );
  const tools = h(
    "div",
    { class: "vbar low", role: "toolbar", "aria-label": "How it is drawn" },
    segment(
      "Draw the host as",
      [
        ["poly", "Polyhedra"],
        ["bonds", "Bonds"],
        ["atoms", "Atoms"],
      ],
      "mode",
      false,
    ),
    segment(
      "View",
      [
        ["tilt", "Tilted"],
        ["a", "along a"],
        ["b", "b"],
        ["c", "c"],
      ],
      "along",
      true,
    ),
    segment(
      "How much is drawn",
      [
        [1, "One cell"],
        [0, "More"],
      ],
      "cells",
      true,
    ),
  );
  const name = () => {
    const c = panel.candidates[ui.at];
    return `${row.host}_${row.guests.replaceAll(" ", "")}${c ? `_rank-${String(c.rank).padStart(3, "0")}${ui.relaxed && c.relaxed && c.relaxed.frac ? "_relaxed" : ""}` : ""}`;
  };
  const download = (label, make) =>
    h("button", { class: "btn small", type: "button", onclick: make }, icon("down"), label);
  const downloads = h(
    "div",
    { class: "pad take noprint" },
    download("CIF", () => save(cif(now(), name()), `${name()}.cif`, "chemical/x-cif")),
    download("POSCAR", () => save(poscar(now(), name()), `${name()}.vasp`)),
    download("Picture", () => saveDrawing(poster_, `${name()}.svg`)),
  );
  const R0 = turn(panel.lattice, "tilt");
  const thumb = (i) => poster(scene({ ...structure(i, ui.relaxed), ghosts: [], cells: 1 }, "poly"), R0, 184, 160, true);
  const cards = panel.candidates.length ? candidateCards(panel, thumb, choose) : null;
  detail.choose = (i) => i < panel.candidates.length && choose(i, false);
  detail.redraw = () => ui.gl && draw(false);
  detail.toggle = () => {
    if (!canRelax) return;
    ui.relaxed = !ui.relaxed;
    view.paint();
    draw(false);
  };
  const scored = panel.candidates.some((c) => c.above !== null);
  const heading_ = h(
    "div",
    { class: "cardhead" },
    h("h2", {}, term("candidate", "Candidates")),
    h("p", {}, scored ? "lowest energy first" : "most samples first"),
  );
  const side = h("div", { class: "cands" }, cards ? heading_ : null, cards, h("span", { class: "grow" }), downloads);
  draw(false);
  return h(
    "section",
    { class: "card keep", "aria-label": "Structure and candidates" },
    h("div", { class: "work" }, h("div", { class: "stagecol" }, bar, stages, legend, tools), side),
  );
}
function drawLegend(legend, st, row, status) {
  const spot = (r, style) => s("svg", { viewBox: "0 0 16 16" }, s("circle", { cx: 8, cy: 8, r, style }));
  const elements = (list) => [...new Set(list.map((n) => EL[n]))];
  const guest = (el) =>
    h("span", {}, spot(6.2, { fill: colour(el), stroke: "var(--ring)", strokeWidth: 2 }), h("b", {}, `${el} placed`));
  const host = (el) =>
    h("span", {}, spot(4.2, { fill: `color-mix(in srgb, ${colour(el)} 70%, var(--ink3))` }), `${el} of the host`);
  const ghost = spot(4.6, { fill: colour(row.ion), fillOpacity: 0.4, stroke: "var(--ring)", strokeDasharray: "2 2" });
  const cell = s(
    "svg",
    { viewBox: "0 0 16 16" },
    s("rect", { x: 2, y: 2, width: 12, height: 12, style: { fill: "none", stroke: "var(--ink2)" } }),
  );
  fill(
    legend,
    elements(st.numbers.slice(st.nHost)).map(guest),
    elements(st.numbers.slice(0, st.nHost)).map(host),
    st.ghosts.length
      ? h("span", {}, ghost, st.numbers.length > st.nHost ? "other candidates" : `sites for ${row.ion}`)
      : null,
    h("span", {}, cell, "unit cell"),
    status,
  );
}
/* colours of the theme are written into the file, which has no style sheet of its own */
function saveDrawing(box, name) {
  const live = box.querySelector("svg"),
    copy = live.cloneNode(true),
    from = [...live.querySelectorAll("*")],
    shown = box.style.display;
  box.style.display = "";
  copy.setAttribute("xmlns", SVGNS);
  copy.querySelectorAll("*").forEach((e, i) => {
    const style = getComputedStyle(from[i]);
    for (const p of ["fill", "stroke", "stopColor", "font"]) if (e.style[p]) e.style[p] = style[p];
  });
  box.style.display = shown;
  save(copy.outerHTML, name, "image/svg+xml");
}
