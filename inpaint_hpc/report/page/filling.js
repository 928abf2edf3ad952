/* A host with several numbers of one guest: hull, voltage, capacity, and how much its charges allow. */
function fillingCard(row, panel) {
  const p = panel.filling;
  const pick = (i) => {
    const r = state.rows.find((x) => x.id === p.filled[i].label);
    if (r) location.hash = address(r);
  };
  const at = p.filled.findIndex((q) => q.label === row.id);
  return h(
    "section",
    { class: "card pad keep", "aria-label": "Filling" },
    h(
      "div",
      { class: "cardhead" },
      h("h2", {}, `More ${p.ion}: hull and voltage`),
      h("p", {}, `up to ${p.filled.at(-1).formula}; ${TREATED[p.treatment]}`),
    ),
    h(
      "div",
      { class: "two" },
      h(
        "div",
        {},
        h("h3", {}, term("hull")),
        hullChart(p, pick, at),
        h("p", { class: "dim" }, "Filled: on the hull. Hollow: above it. A click opens that result."),
      ),
      h(
        "div",
        {},
        h("h3", {}, term("voltage"), ` against ${p.against}`),
        voltageChart(p),
        h(
          "p",
          { class: "dim" },
          `Top axis: capacity per gram of host. Volume changes by ${num(p.filled.at(-1).volume_change_percent, 1)} % when fullest.`,
        ),
      ),
    ),
    amounts(p),
    chargeLine(p),
  );
}
/* the lowest of each number of guests; capacity and energy by the mass of the host without the added guests */
function amounts(p) {
  const lowest = p.filled.filter((q, i) => !i || q.guests !== p.filled[i - 1].guests);
  const heads = ["Filled", "x", "Average V", "mAh/g", "Wh/kg", "Volume, %", "Above hull, meV"];
  const cells = (q) => [
    h("b", {}, formulaDom(partsOf(q.formula))),
    xText(q.x),
    num(q.average_voltage_V, 2),
    num(q.capacity_mAh_per_g_host, 0),
    num(q.energy_Wh_per_kg_host, 0),
    num(q.volume_change_percent, 1),
    q.stable ? "on it" : num((1000 * q.above_hull_eV) / p.units, 0),
  ];
  const line = (tag, list) => h("tr", {}, list.map((c, i) => h(tag, { class: i ? "num" : "" }, c)));
  const table = h("table", { class: "s amounts" }, h("thead", {}, line("th", heads)), h("tbody", {}));
  table.lastChild.append(...lowest.map((q) => line("td", cells(q))));
  return h(
    "div",
    {},
    h("div", { class: "scroll" }, table),
    h("p", { class: "dim" }, "V from the empty host up to there; mAh/g and Wh/kg by the mass of the host; meV per formula unit."),
  );
}
/* 'Li0.5MnO2' -> [["Li", 0.5], ["Mn", 1], ["O", 2]] */
const partsOf = (text) =>
  [...text.matchAll(/([A-Z][a-z]?)([\d.]*)/g)].map(([, el, n]) => [el, n ? Number(n) : 1]);
function chargeLine(p) {
  const c = p.most_by_charge;
  if (!c || !c.limits) return c && c.reason ? h("p", { class: "dim" }, `Most by charge: ${safe(c.reason)}.`) : null;
  const one = (l) => {
    const states = Object.entries(l.states).map(([metal, n]) => `${metal} to +${n}`);
    return `x = ${xText(l.x)} (${l.formula}) with ${states.join(", ")}`;
  };
  return h("p", {}, term("charge", "Most by charge"), `: ${c.limits.map(one).join("; ")}.`);
}
