/* Candidates of an opened task: as cards to choose from, and in numbers. */
const siteName = (c) => c.site || "a site without a name";
const placedName = (c) => c.placed_site || "a site without a name";
const perGuest = (c) => num(c.energy, 2);
/* energies are compared within one treatment only; `above` is null without one */
const aboveText = (c) =>
  c.above === null ? "no energy" : c.above < 0.05 ? `${perGuest(c)} eV` : `+${num(c.above, 0)} meV`;

function candidateCards(panel, thumb, choose) {
  const scored = panel.candidates.some((c) => c.above !== null),
    valid = panel.valid;
  const card = (c, i) => {
    const tags = [
      scored && i === 0 ? h("span", { class: "tag blue" }, "lowest energy") : null,
      c.rank === panel.most ? h("span", { class: "tag" }, "most samples") : null,
      panel.known && panel.known.rank === c.rank ? h("span", { class: "tag" }, "the known site") : null,
      c.relaxed && c.relaxed.outcome !== "converged" ? h("span", { class: "tag" }, c.relaxed.outcome) : null,
    ];
    const rest = Math.max(0, valid - c.count);
    return h(
      "div",
      {
        class: "cand",
        role: "radio",
        tabindex: -1,
        "aria-checked": "false",
        "aria-label": `Candidate ${c.rank + 1}: ${siteName(c)}, ${c.count} of ${valid} samples, ${aboveText(c)}`,
        onclick: () => choose(i, false),
        onkeydown: (e) => {
          if (e.key !== " " && e.key !== "Enter") return;
          e.preventDefault();
          choose(i, false);
        },
      },
      h("div", { class: "thumb" }, i < 8 ? thumb(i) : null),
      h(
        "div",
        {},
        h(
          "div",
          { class: "l1" },
          h("span", {}, c.rank + 1),
          h("span", {}, siteName(c)),
          scored ? h("span", { class: "e" }, aboveText(c)) : null,
        ),
        h("div", { class: "l2" }, c.around || "–"),
        h(
          "div",
          { class: "l3" },
          agreeBar([
            [c.count, "r0"],
            [rest, ""],
          ]),
          h("span", {}, `${c.count} of ${valid}`),
        ),
        h("div", { class: "tagline" }, tags),
      ),
    );
  };
  const move = (e) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[e.key];
    if (!step) return;
    e.preventDefault();
    const at = [...box.children].findIndex((c) => c.getAttribute("aria-checked") === "true");
    choose(Math.max(0, Math.min(panel.candidates.length - 1, at + step)), true);
  };
  const box = h("div", { class: "candlist", role: "radiogroup", "aria-label": "Candidates", onkeydown: move });
  box.append(...panel.candidates.map(card));
  return box;
}

function numbersTable(panel, selected) {
  const list = panel.candidates.slice(0, 8),
    valid = panel.valid,
    scored = list.some((c) => c.above !== null),
    relaxes = list.some((c) => c.relaxed),
    finite = (x) => (x === null || x === undefined ? Infinity : x);
  const line = (label, show, rank) => {
    const values = rank ? list.map((c) => finite(rank(c))) : [],
      best = Math.min(...values);
    const cell = (c, i) => {
      const marked = rank && list.length > 1 && isFinite(best) && values[i] === best;
      return h("td", { class: `${i === selected ? "selcol" : ""} ${marked ? "best" : ""}` }, show(c));
    };
    return h("tr", {}, h("th", { scope: "row" }, label), list.map(cell));
  };
  const column = (c, i) =>
    h("th", { scope: "col", class: i === selected ? "selcol" : "" }, `${c.rank + 1} · ${siteName(c)}`);
  return h(
    "div",
    { class: "cmp", tabindex: "0", role: "region", "aria-label": "Candidates in numbers" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, h("th", {}, h("span", { class: "sr" }, "Quantity")), list.map(column))),
      h(
        "tbody",
        {},
        scored ? line([term("energy"), ", eV"], perGuest, (c) => c.energy) : null,
        scored
          ? line(
              "Above the lowest, meV per guest",
              (c) => num(c.above, 0),
              (c) => c.above,
            )
          : null,
        relaxes
          ? line(["Energy per guest, ", term("placed", "as placed"), ", eV"], (c) => num(c.placed_energy, 2))
          : null,
        line(
          [term("agreement"), ", samples"],
          (c) => `${c.count} of ${valid}`,
          (c) => -c.count,
        ),
        line([term("wyckoff")], siteName),
        relaxes ? line([term("wyckoff"), " as placed"], placedName) : null,
        line(
          "Equivalent places in the cell",
          (c) => [...new Set(c.multiplicity)].map((n) => n || "–").join(", ") || "–",
        ),
        line([term("coordination")], (c) => c.around || "–"),
        line("Nearest atom as placed, Å", (c) => num(c.distance, 2)),
        line([term("spread"), ", Å"], (c) => num(c.spread, 2)),
        scored ? line("Largest force on a guest as placed, eV/Å", (c) => num(c.force, 2)) : null,
        relaxes
          ? line("Relaxation", (c) => (c.relaxed ? `${c.relaxed.outcome}, ${c.relaxed.steps} steps` : "–"))
          : null,
        line([term("origin")], (c) => c.origin + (c.placements > 1 ? ` (${c.placements} placements)` : "")),
        list.some((c) => c.error) ? line("Error", (c) => safe(c.error || "–")) : null,
      ),
    ),
    panel.n_candidates > list.length
      ? h("p", { class: "pad dim" }, `${panel.n_candidates - list.length} more candidates are in the archive.`)
      : null,
  );
}
