/* The table of results, and the same rows as a narrow list beside an opened one. */
const chip = (flag, text, fold) =>
  h(
    "span",
    { class: `chip ${FLAGS[flag][1]}${fold ? " fold" : ""}`, title: safe(text || FLAGS[flag][2]) },
    icon(FLAGS[flag][0]),
    h("span", {}, safe(text || FLAGS[flag][2])),
  );
const dash = () => h("span", { class: "dim" }, "–");
function agreeBar(parts) {
  return h(
    "span",
    { class: "agree", "aria-hidden": "true" },
    parts.filter(([n]) => n > 0).map(([n, cls]) => h("i", { class: cls, style: { flexGrow: n } })),
  );
}
function rowBar(r) {
  const other = r.flags.includes("disagree") ? r.most_agree : 0;
  return agreeBar([
    [r.agree, "r0"],
    [other, "most"],
    [Math.max(0, r.valid - r.agree - other), ""],
  ]);
}
function sureCell(r) {
  if (!r.valid || !r.most_agree) return dash();
  const title = `${r.agree} of ${r.valid} samples ended in the first candidate`;
  return h(
    "span",
    { class: "sure", title },
    rowBar(r),
    h(
      "span",
      {},
      r.confidence === null ? null : h("b", {}, percent(r.confidence)),
      h("span", { class: "sub" }, `${r.agree} of ${r.valid} agree`),
    ),
  );
}
const COLUMNS = {
  host: {
    head: "Host",
    cell: (r) => [
      h("a", { href: address(r), class: "clip", title: safe(r.host) }, safe(r.host)),
      h("span", { class: "sub" }, formulaDom(parse(r.formula)), r.spacegroup ? ` · ${r.spacegroup}` : ""),
    ],
  },
  ion: { head: "Ion", cell: (r) => ionDom(r.ion, r.guests) },
  site: {
    head: "Sits at",
    cell: (r) =>
      r.site || r.around
        ? [h("b", {}, r.site || "no name"), h("span", { class: "sub" }, r.around)]
        : dash(),
  },
  sure: { head: "How sure", cell: sureCell },
  energy: {
    head: ["Energy ", h("small", {}, "eV per guest")],
    num: true,
    cell: (r) => (r.energy === null ? dash() : num(r.energy, 2)),
  },
  voltage: {
    head: ["Voltage ", h("small", {}, "V")],
    num: true,
    cell: (r) => (r.voltage === null ? dash() : num(r.voltage, 2)),
  },
  notes: {
    head: "Look at",
    cell: (r) =>
      h(
        "span",
        { class: "chips" },
        r.flags.slice(0, 1).map((f) => chip(f, flagText(f, r), true)),
        r.flags.length > 1 ? h("span", { class: "chip more" }, `+${r.flags.length - 1}`) : null,
      ),
  },
  rail: {
    head: "Host",
    cell: (r) =>
      h(
        "div",
        { class: "railcell" },
        h("a", { href: address(r), title: safe(r.host) }, safe(r.host)),
        h(
          "span",
          {},
          r.energy === null ? percent(r.confidence) : [num(r.energy, 2), h("span", { class: "dim" }, " eV")],
        ),
        h(
          "span",
          { class: "s" },
          ionDom(r.ion, r.guests),
          h("span", {}, r.site || (r.flags.length ? FLAGS[r.flags[0]][2] : "")),
          r.flags.some((f) => FLAGS[f][1]) ? h("span", { class: "sr" }, "has a warning") : null,
        ),
        h("span", { class: "s" }, r.valid ? rowBar(r) : null),
      ),
  },
};
const parse = (text) => [...text.matchAll(/([A-Z][a-z]?)(\d*)/g)].map((m) => [m[1], Number(m[2] || 1)]);
const VIRTUAL = 300; /* beyond so many rows only those in view are in the document */
function makeTable(columns, rail) {
  const cols = columns.filter((c) => (c === "energy" ? state.energies : c === "voltage" ? state.voltages : true));
  const height = rail ? 53 : 49,
    virtual = () => state.shown.length > VIRTUAL && !makeTable.print;
  const body = h("tbody"),
    head = h("tr", { "aria-rowindex": 1 }),
    wrap = h("div", { class: "tablewrap", tabindex: "-1" });
  for (const c of cols) {
    const [key, direction] = state.sort,
      on = key === c,
      first = ["sure", "voltage", "notes"].includes(c) ? -1 : 1;
    const sort = () => {
      state.sort = [c, on ? -direction : first];
      refresh(`th.c-${c} button`);
    };
    const order = on ? (direction > 0 ? "ascending" : "descending") : "none",
      arrow = on ? (direction > 0 ? "▲" : "▼") : "";
    const title = COLUMNS[c].head,
      label = Array.isArray(title) ? title.map((x) => (x.nodeType ? x.cloneNode(true) : x)) : title;
    head.append(
      h(
        "th",
        { scope: "col", class: `${COLUMNS[c].num ? "num" : ""} c-${c}`, "aria-sort": order },
        h(
          "button",
          { type: "button", onclick: sort },
          label,
          h("span", { class: "arrow", "aria-hidden": "true" }, arrow),
        ),
      ),
    );
  }
  const open = (r) => (e) => {
    if (!e.target.closest("a,button") && !String(getSelection())) location.hash = address(r);
  };
  const tr = (r, i) =>
    h(
      "tr",
      {
        class: `row${r === state.open ? " sel" : ""}`,
        "data-i": i,
        "aria-rowindex": i + 2,
        "aria-current": r === state.open ? "true" : null,
        onclick: open(r),
      },
      cols.map((c) => h("td", { class: `${COLUMNS[c].num ? "num" : ""} c-${c}` }, COLUMNS[c].cell(r))),
    );
  const gap = (rows) =>
    h(
      "tr",
      { "aria-hidden": "true" },
      h("td", { colspan: cols.length, style: { height: `${rows * height}px`, padding: 0, border: 0 } }),
    );
  let first = -1,
    last = -1;
  function draw(force) {
    const n = state.shown.length;
    if (!virtual()) return body.replaceChildren(...state.shown.slice(0, makeTable.print ? 200 : n).map(tr));
    const a = Math.max(0, Math.floor(wrap.scrollTop / height) - 8),
      b = Math.min(n, a + Math.ceil((wrap.clientHeight || 700) / height) + 18);
    if (!force && a === first && b === last) return;
    const active = document.activeElement?.closest?.("tr")?.dataset?.i;
    [first, last] = [a, b];
    body.replaceChildren(gap(a), ...state.shown.slice(a, b).map((r, k) => tr(r, a + k)), gap(n - b));
    if (active) body.querySelector(`[data-i="${active}"] a`)?.focus({ preventScroll: true });
  }
  wrap.classList.toggle("virtual", virtual());
  wrap.addEventListener("scroll", () => draw(false), { passive: true });
  wrap.addEventListener("keydown", (e) => {
    const at = Number(e.target.closest("tr.row")?.dataset.i ?? NaN),
      step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[e.key];
    if (isNaN(at) || !step) return;
    e.preventDefault();
    const to = Math.max(0, Math.min(state.shown.length - 1, at + step)),
      y = to * height;
    if (virtual() && (y < wrap.scrollTop + 40 || y > wrap.scrollTop + wrap.clientHeight - 100)) {
      wrap.scrollTop = Math.max(0, y - wrap.clientHeight / 2);
      draw(true);
    }
    body.querySelector(`[data-i="${to}"] a`)?.focus();
  });
  wrap.append(
    h(
      "table",
      { class: "t", "aria-rowcount": state.shown.length + 1 },
      h("caption", { class: "sr" }, "Hosts and ions, one row each; Enter opens a row"),
      h("thead", {}, head),
      body,
    ),
  );
  draw(true);
  if (!state.shown.length) {
    const all = h("button", { class: "btn", type: "button", onclick: clearFilters }, "Show all");
    wrap.append(h("div", { class: "empty" }, h("p", {}, "Nothing fits these filters."), h("p", {}, all)));
  }
  wrap.redraw = () => draw(true);
  return wrap;
}
function clearFilters() {
  state.query = state.ion = state.flag = "";
  $("#q").value = "";
  refresh();
}
function filters(compact) {
  const all = state.shown.length === state.rows.length;
  const text = all
    ? plural(state.rows.length, "result")
    : `${count(state.shown.length)} of ${count(state.rows.length)}`;
  if (compact)
    return h(
      "div",
      { class: "filters" },
      h("a", { href: "#/", class: "btn small" }, icon("back"), "All results"),
      h("span", { class: "count grow num" }, text),
    );
  const pill = (what, value, label) => {
    const click = () => {
      state[what] = state[what] === value ? "" : value;
      refresh();
    };
    const pressed = String(state[what] === value);
    return h("button", { type: "button", class: "pill", "aria-pressed": pressed, onclick: click }, label);
  };
  const flags = [...state.seen].sort((a, b) => b[1] - a[1]).slice(0, 5);
  return h(
    "div",
    { class: "filters" },
    h("h2", {}, "All results"),
    h("span", { class: "count", role: "status" }, text),
    h("span", { class: "grow" }),
    ions.length > 1 ? ions.slice(0, 8).map((ion) => pill("ion", ion, ionDom(ion, ion))) : null,
    flags.map(([f, n]) => pill("flag", f, [icon(FLAGS[f][0]), `${FLAGS[f][2]} (${count(n)})`])),
  );
}
let listBox = null;
function refresh(focus) {
  select();
  if (listBox) {
    const next = makeList(listBox.compact);
    listBox.replaceWith(next);
    listBox = next;
  }
  if (focus) $(focus)?.focus();
}
function makeList(compact) {
  const columns = compact ? ["rail"] : ["host", "ion", "site", "sure", "energy", "voltage", "notes"],
    table = makeTable(columns, compact);
  const box = h("section", { class: `card ${compact ? "" : "list"}`, "aria-label": "All results" }, filters(compact));
  box.compact = compact;
  box.append(table);
  if (compact)
    requestAnimationFrame(() => {
      const i = state.shown.indexOf(state.open);
      if (i > 4) {
        table.scrollTop = (i - 3) * 53;
        table.redraw();
      }
    });
  if (!compact && state.shown.length > 200) {
    const text = `The first 200 of ${count(state.shown.length)} rows are printed; "Table as CSV" saves all of them.`;
    box.append(h("p", { class: "pad printonly" }, text));
  }
  return box;
}
