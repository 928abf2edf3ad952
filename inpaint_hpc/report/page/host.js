/* A task opened: the answer in a sentence, structure and candidates, filling, sites, and how it was made. */
const TREATED = {
  none: "as placed, nothing relaxed",
  guests: "guests relaxed, host frozen",
  positions: "positions relaxed in the host's cell",
  cell: "positions and cell relaxed",
  relaxed: "relaxed, it is not known what was free",
};
async function detail(row) {
  const box = h("article", { class: "detail", "aria-label": `${safe(row.host)}, ${row.guests}` }),
    panel = await panelOf(row);
  const others = state.rows.filter((r) => r.crystal === row.crystal);
  box.append(detailHead(row, others, panel));
  if (panel.error) {
    box.append(failedCard(panel));
    return box;
  }
  if (!panel.candidates.length) {
    box.append(panel.sites.length ? h("p", { class: "says" }, siteSentence(row, panel)) : nothingCard(row, panel));
    if (panel.sites.length) box.append(structureCard(row, panel, []), sitesCard(panel));
    box.append(madeCard(panel));
    return box;
  }
  box.append(sentence(row, panel), tiles(row, panel), warnings(row, panel));
  const numbers = h("div"),
    choices = [];
  box.append(structureCard(row, panel, choices, (i) => numbers.replaceChildren(numbersTable(panel, i))));
  const title = h(
    "div",
    { class: "cardhead pad tight" },
    h("h2", {}, "Candidates in numbers"),
    h("p", {}, "▸ marks the best of a row"),
  );
  box.append(h("section", { class: "card", "aria-label": "Candidates in numbers" }, title, numbers));
  if (panel.filling) box.append(fillingCard(row, panel));
  if (panel.sites.length) box.append(sitesCard(panel));
  box.append(madeCard(panel));
  return box;
}
const favouriteOf = (panel) => panel.candidates.find((c) => c.rank === panel.most) || panel.candidates[0];
function detailHead(row, others, panel) {
  const at = state.shown.indexOf(row);
  const step = (d, name, label) => {
    const next = state.shown[at + d],
      go = () => (location.hash = address(next));
    return h(
      "button",
      { class: "btn small icon", type: "button", "aria-label": label, disabled: !next, onclick: go },
      icon(name),
    );
  };
  const many = state.rows.length > 1;
  const ion = (r) => {
    const go = () => (location.hash = address(r));
    return h("button", { type: "button", "aria-pressed": String(r === row), onclick: go }, ionDom(r.ion, r.guests));
  };
  return h(
    "header",
    { class: "dhead" },
    many ? h("a", { class: "btn small railback noprint", href: "#/" }, icon("back"), "All results") : null,
    h("h1", { id: "dtitle", tabindex: "-1" }, safe(row.host)),
    h(
      "span",
      { class: "meta" },
      formulaDom(parse(row.formula)),
      row.spacegroup ? ` · ${row.spacegroup}` : "",
      ` · ${panel.numbers.length} atoms`,
    ),
    h("span", { class: "grow" }),
    others.length > 1 && others.length < 9
      ? h("div", { class: "seg", role: "group", "aria-label": "Guests" }, others.map(ion))
      : ionDom(row.ion, row.guests),
    many && at >= 0
      ? h(
          "span",
          { class: "icons noprint" },
          step(-1, "back", "Previous result (k)"),
          step(1, "next", "Next result (j)"),
        )
      : null,
  );
}
/* the answer, how sure it is, and what speaks against it */
function sentence(row, panel) {
  const best = panel.candidates[0],
    most = favouriteOf(panel),
    scored = best.above !== null,
    sits = /\d$/.test(row.guests) || row.guests.includes(" ") ? "sit" : "sits";
  const where = [
    h("b", {}, `${row.guests} ${sits} at ${siteName(best)}`),
    best.around ? `, ${best.around}` : "",
  ];
  const first = scored ? [where, ": the lowest energy. "] : [where, ". "];
  const sure = row.confidence === null ? "." : `; chance that it is right: ${percent(row.confidence)}.`;
  if (most === best) {
    const all =
      best.count === panel.valid ? `All ${panel.valid} samples agree` : `${best.count} of ${panel.valid} samples agree`;
    return h("p", { class: "says" }, first, panel.valid ? all + sure : "");
  }
  const name = siteName(most) === siteName(best) ? `another ${siteName(most)}` : siteName(most),
    higher = most.above === null ? "" : `, ${num(most.above, 0)} meV per guest higher`;
  const few = `${best.count} of ${panel.valid} samples agree${sure} `,
    chose = `Most samples (${most.count} of ${panel.valid}) chose ${name}`,
    doubt = [h("b", {}, chose), ` instead${higher}: look at both.`];
  return h("p", { class: "says" }, first, few, h("span", { class: "alt" }, doubt));
}
const siteSentence = (row, panel) => [
  h("b", {}, `${plural(panel.sites.length, "site")} for ${row.guests}`),
  `; the most occupied is ${panel.sites[0].wyckoff || "a site without a name"} with ${Math.round(100 * panel.sites[0].occupancy)} % of the positions.`,
];
function tiles(row, panel) {
  const best = panel.candidates[0],
    most = favouriteOf(panel),
    apart = most !== best,
    scored = best.above !== null,
    treated = TREATED[panel.treatment] || "";
  const tile = (warn, key, value, text) =>
    h(
      "div",
      { class: `card tile keep ${warn ? "warn" : ""}` },
      h("div", { class: "k" }, key),
      h("div", { class: "v" }, value),
      h("div", { class: "d" }, text),
    );
  const moved = placedName(best) !== siteName(best) ? `; placed at ${placedName(best)}` : "";
  /* of several guests the numbers would be a sum without a meaning */
  const places = best.multiplicity.length === 1 ? best.multiplicity[0] : 0,
    each = places ? h("small", {}, `${places} in the cell`) : null;
  const agree = `${best.count} of ${panel.valid} samples agree`;
  const sure = row.confidence === null ? `${best.count} of ${panel.valid}` : percent(row.confidence);
  const energy = best.energy === null ? null : best.energy;
  const metal =
    energy === null || panel.metal_energy === null
      ? ""
      : `; ${num(energy - panel.metal_energy, 2)} eV against ${row.ion} metal`;
  return h(
    "section",
    { class: "tiles", "aria-label": "In short" },
    tile(
      false,
      term("wyckoff", "Where it sits"),
      [siteName(best), " ", each],
      (best.around || "–") + moved,
    ),
    tile(
      apart,
      term("sure"),
      [sure, " ", h("small", {}, row.confidence === null ? "samples" : sureWord(row.confidence))],
      apart ? `${agree}; ${most.count} on ${otherSite(row)} (candidate ${most.rank + 1})` : agree,
    ),
    tile(
      row.flags.includes("costs"),
      term("energy"),
      scored && energy !== null
        ? [num(energy, 2), " ", h("small", {}, "eV")]
        : h("span", { class: "dim" }, scored ? "not known" : "not computed"),
      scored ? `${treated}${metal}` : "Run with scoring to get energies and voltages",
    ),
    tile(
      row.flags.includes("costs"),
      term("voltage"),
      row.voltage === null ? h("span", { class: "dim" }, "–") : [num(row.voltage, 2), " ", h("small", {}, "V")],
      row.voltage === null
        ? ""
        : row.voltage < 0
          ? `the ion would rather stay in its metal`
          : `from the empty host to ${row.guests}; ${treated}`,
    ),
  );
}
function warnings(row, panel) {
  const relaxed = panel.treatment && panel.treatment !== "none";
  const words = {
    disagree: `Lowest energy and most samples point to different places. Energies are ${relaxed ? TREATED[panel.treatment] : "of structures as placed"}: relax both with the cell before you decide.`,
    costs: `Inserting ${row.guests} here is not favourable against the metal${relaxed ? "" : "; nothing was relaxed, and relaxation lowers energies"}.`,
    rest: "The relaxation of the lowest candidate ran out of steps: its energy is an upper bound.",
    treatment: `Energies of this task are by another potential or treatment (${panel.potential}, ${TREATED[panel.treatment] || "unknown"}) than most here; the table leaves them out.`,
    wrong: "The lowest candidate is not where the guests were before they were taken out.",
  };
  const list = [...row.flags.filter((f) => words[f]).map((f) => [f, words[f]]), ...panel.notes.map((n) => ["note", n])];
  if (!list.length) return h("span", { hidden: true });
  const item = ([f, text]) =>
    h("li", {}, h("span", { class: `chip long ${FLAGS[f][1]}` }, icon(FLAGS[f][0]), h("span", {}, safe(text))));
  return h("ul", { class: "chips notes", "aria-label": "Notes and warnings" }, list.map(item));
}
function failedCard(panel) {
  const again = `Tried ${plural(panel.attempts || 1, "time")}. "inpaint-hpc resume RUN" tries it again.`;
  const trace = panel.traceback
    ? h(
        "details",
        {},
        h("summary", {}, "Where it was raised"),
        h(
          "pre",
          { tabindex: "0" },
          safe(panel.traceback.replaceAll("\n", "\u0000")).replaceAll("\u27e80000\u27e9", "\n"),
        ),
      )
    : null;
  return h(
    "section",
    { class: "card pad" },
    h("div", { class: "cardhead" }, h("h2", {}, "This task failed"), chip("failed")),
    h("p", {}, h("code", {}, safe(panel.error))),
    h("p", { class: "dim" }, again),
    trace,
  );
}
function nothingCard(row, panel) {
  const reasons = Object.entries(panel.impossible).map(([why, n]) => h("li", {}, `${n} × ${safe(why)}`));
  return h(
    "section",
    { class: "card pad" },
    h("div", { class: "cardhead" }, h("h2", {}, `No place for ${row.guests} was found`), chip("none")),
    h("p", {}, `${plural(panel.drawn, "sample")}, ${panel.valid} of them possible.`),
    reasons.length ? h("ul", {}, reasons) : null,
    panel.notes.map((n) => h("p", {}, safe(n))),
    h("p", { class: "dim" }, "Try fewer guests, a larger cell, or a host that was relaxed with the ions in it."),
  );
}
function sitesCard(panel) {
  const heads = [
    "Site",
    "In cell",
    "Share of samples",
    "Neighbours",
    "Above the best, meV",
    "Moves when relaxed, Å",
    "Ends on site",
  ];
  const scored = panel.sites.some((o) => o.above !== null),
    shown = scored ? heads : heads.slice(0, 4);
  const share = (o) => [
    h("span", { class: "minibar", "aria-hidden": "true" }, h("i", { style: { width: `${100 * o.occupancy}%` } })),
    `${Math.round(100 * o.occupancy)} %`,
  ];
  const ends = (o) => (o.settles_on < 0 ? "–" : o.settles_on === o.orbit ? "stays" : o.settles_on);
  const line = (o) => {
    const cells = [
      h("b", {}, `${o.ion} ${o.orbit} · ${o.wyckoff || "–"}`),
      o.multiplicity,
      share(o),
      o.around || "–",
      num(o.above, 0),
      num(o.shift, 2),
      ends(o),
    ];
    return h(
      "tr",
      {},
      cells.slice(0, shown.length).map((c, i) => h("td", { class: i > 3 ? "num" : "" }, c)),
    );
  };
  return h(
    "section",
    { class: "card pad keep", id: "sites" },
    h(
      "div",
      { class: "cardhead" },
      h("h2", {}, term("network")),
      h("p", {}, panel.sites[0].saturated ? "the last samples found no new site" : "more samples may find more"),
    ),
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        { class: "s" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            shown.map((t, i) => h("th", { scope: "col", class: i > 3 ? "num" : "" }, t)),
          ),
        ),
        h("tbody", {}, panel.sites.map(line)),
      ),
    ),
  );
}
const STAGE = {
  sample: ["drawing samples", "#0072B2"],
  deduplicate: ["grouping", "#56B4E9"],
  score: ["energies", "#E69F00"],
  relax: ["relaxing", "#CC79A7"],
  sites: ["sites", "#009E73"],
};
function stack(times) {
  const list = Object.entries(times),
    sum = list.reduce((a, [, t]) => a + t, 0) || 1,
    tone = (k) => STAGE[k]?.[1] || "#999";
  const bar = list.map(([k, t]) => h("i", { style: { width: `${(100 * t) / sum}%`, background: tone(k) } }));
  const key = list.map(([k, t]) => h("span", { style: { "--c": tone(k) } }, `${STAGE[k]?.[0] || k} ${seconds(t)}`));
  return h("div", {}, h("div", { class: "stack", "aria-hidden": "true" }, bar), h("div", { class: "stackkey" }, key));
}
const kv = (pairs) =>
  h(
    "dl",
    { class: "kv" },
    pairs.filter(Boolean).map(([k, v]) => [h("dt", {}, k), h("dd", {}, typeof v === "string" ? safe(v) : v)]),
  );
function madeCard(panel) {
  const energies = panel.potential
    ? `${panel.potential}, ${TREATED[panel.treatment] || panel.treatment}; E(host) ${num(panel.host_energy, 3)} eV, E(metal) ${num(panel.metal_energy, 3)} eV per atom`
    : "none";
  const reasons = Object.entries(panel.impossible)
    .map(([why, n]) => `${n} × ${why}`)
    .join("; ");
  const known =
    panel.known &&
    (panel.known.rank === null
      ? "no candidate"
      : `candidate ${panel.known.rank + 1}${panel.known.first && panel.known.rmsd !== null ? `, ${num(panel.known.rmsd, 2)} Å away` : ""}`);
  const facts = kv([
    ["Samples", `${panel.drawn} drawn, ${panel.drawn - panel.valid} impossible${reasons ? `: ${reasons}` : ""}`],
    ["Energies", energies],
    panel.fmax === null ? null : ["Relaxed", `to ${panel.fmax} eV/Å`],
    known ? ["At the known site", known] : null,
    ["Worker", panel.worker || "–"],
  ]);
  const times = h("div", {}, h("h3", {}, "Time"), stack(panel.seconds));
  return h(
    "details",
    { class: "card pad keep" },
    h("summary", {}, h("h2", {}, "How this result was made")),
    h("div", { class: "two" }, facts, times),
  );
}
