/* Address, keys, the bar at the top, themes, and the start. */
async function route() {
  const found = /^#\/(\w+)$/.exec(location.hash),
    main = $("#main");
  let row = found ? state.rows.find((r) => r.id === found[1]) : null;
  if (!row && state.rows.length === 1) row = state.rows[0];
  const before = state.open;
  state.open = row || null;
  if (!row) {
    main.replaceChildren(overview());
    document.title = FACTS.heading;
    scrollTo(0, route.y || 0);
    if (before) listBox.querySelector(`[data-i="${state.shown.indexOf(before)}"] a`)?.focus({ preventScroll: true });
    return;
  }
  if (!before) route.y = scrollY;
  const page = await detail(row);
  if (state.open !== row) return;
  if (state.rows.length === 1) {
    listBox = null;
    main.replaceChildren(page, below());
  } else {
    listBox = makeList(true);
    main.replaceChildren(h("div", { class: "split" }, h("aside", { class: "rail" }, listBox), h("div", {}, page)));
  }
  document.title = `${row.guests} in ${safe(row.host)}`;
  scrollTo(0, 0);
  if (before || route.ready) $("#dtitle")?.focus({ preventScroll: true });
}
function help() {
  const keys = [
    ["/", "search"],
    ["↑ ↓", "through the table or the candidates"],
    ["Enter", "open a row"],
    ["Esc", "back to all results"],
    ["j k", "next, previous result"],
    ["1 … 9", "choose a candidate"],
    ["r", "relaxed or as placed"],
    ["arrows, + −", "turn and zoom the 3D view when it has the focus"],
    ["?", "this help"],
  ];
  const list = keys.map(([k, t]) => [h("span", {}, h("span", { class: "kbd" }, k)), h("span", {}, t)]);
  const text = h(
    "p",
    {},
    "Search takes words (host, formula, ion, site, warning) and comparisons: ",
    h("code", {}, "Mn Li sure>80 voltage>3 energy<-2"),
  );
  dialog("Keys and search", h("div", { class: "db" }, h("div", { class: "keys" }, list), text));
}
function theme(next) {
  const root = document.documentElement;
  root.dataset.theme = next || (root.dataset.theme === "dark" ? "light" : "dark");
  if (state.open) detail.redraw?.();
}
function searched(e) {
  state.query = e.target.value;
  clearTimeout(searched.timer);
  const later = () => {
    /* on narrow screens an opened task hides the list that the search is about */
    if (state.open && state.rows.length > 1 && matchMedia("(max-width: 1120px)").matches) location.hash = "#/";
    refresh();
  };
  searched.timer = setTimeout(later, state.rows.length > 2000 ? 60 : 0);
}
function chrome() {
  const button = (label, name, onclick) =>
    h("button", { class: "btn icon quiet", type: "button", "aria-label": label, onclick }, icon(name));
  const input = h("input", {
    id: "q",
    type: "search",
    placeholder: "Host, formula, ion, site, sure>80 …",
    "aria-label": "Search the results",
    autocomplete: "off",
    spellcheck: "false",
    oninput: searched,
  });
  fill(
    $("#top"),
    h("a", { class: "brand", href: "#/" }, h("span", {}, "inpaint_hpc ", h("small", {}, "report"))),
    h(
      "div",
      { class: "search", role: "search" },
      icon("search"),
      input,
      h("span", { class: "kbd", "aria-hidden": "true" }, "/"),
    ),
    h(
      "div",
      { class: "icons" },
      button("Light or dark", "moon", () => theme()),
      button("Print", "print", () => print()),
      button("Keys and search", "help", help),
    ),
  );
  const licence = async (e) => {
    e.preventDefault();
    dialog("Licence of 3Dmol.js", h("pre", { tabindex: "0" }, await inflate("viewer-licence")));
  };
  fill(
    $("#foot"),
    `inpaint_hpc ${FACTS.version}. This file works without a network. 3D by `,
    h("a", { href: "#licence", onclick: licence }, "3Dmol.js"),
    " (BSD-3-Clause).",
  );
}
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || $("#dialog").open || !FACTS) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName) && e.target.type !== "checkbox";
  if (e.key === "Escape") {
    if (e.target.id === "q") {
      e.target.value = state.query = "";
      refresh();
      e.target.blur();
    } else if (!$("#pop").matches(":popover-open") && state.open && state.rows.length > 1) location.hash = "#/";
  } else if (typing) {
    if (e.target.id === "q" && (e.key === "Enter" || e.key === "ArrowDown")) {
      e.preventDefault();
      listBox?.querySelector("tr.row a")?.focus();
    }
  } else if (e.key === "/") {
    e.preventDefault();
    $("#q").focus();
  } else if (e.key === "?") help();
  else if (state.open && (e.key === "j" || e.key === "k")) {
    const next = state.shown[state.shown.indexOf(state.open) + (e.key === "j" ? 1 : -1)];
    if (next) location.hash = address(next);
  } else if (state.open && /^[1-9]$/.test(e.key)) detail.choose?.(Number(e.key) - 1);
  else if (state.open && e.key === "r") detail.toggle?.();
});
/* paper has no canvas and no closed parts */
addEventListener("beforeprint", () => {
  makeTable.print = true;
  document.querySelectorAll("details:not([open])").forEach((d) => {
    d.open = true;
    d.dataset.shut = "1";
  });
  if (listBox && !listBox.compact) refresh();
});
addEventListener("afterprint", () => {
  makeTable.print = false;
  document.querySelectorAll("details[data-shut]").forEach((d) => {
    d.open = false;
    delete d.dataset.shut;
  });
  if (listBox && !listBox.compact) refresh();
});
addEventListener("hashchange", route);
addEventListener("resize", () => GL.made.forEach((v) => v.view.resize()));
async function start() {
  theme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  await load();
  chrome();
  select();
  await route();
  route.ready = true;
  performance.mark("table");
}
start();
