/* The first page: facts, four answers, cost against certainty, the table, and how all of it was made. */
function factLine() {
  const F = FACTS,
    total = Object.values(F.seconds).reduce((a, b) => a + b, 0),
    done = F.tasks - F.failed;
  const fact = (...parts) => h("span", {}, parts);
  return h(
    "div",
    { class: "factline" },
    fact(h("b", {}, `${count(done)} of ${count(F.tasks)}`), " tasks done"),
    F.failed ? fact(h("b", {}, count(F.failed)), " failed") : null,
    F.shown < F.tasks ? fact("first ", h("b", {}, count(F.shown)), " shown") : null,
    total
      ? fact(
          h("b", {}, seconds(total)),
          ` of work, ${count(Math.round((3600 * F.tasks) / total))} tasks per hour and worker`,
        )
      : null,
    F.weights
      ? fact(term("weights"), " ", h("b", {}, safe(F.weights)), " ", h("code", {}, F.weights_sha256.slice(0, 8)))
      : null,
    F.potential ? fact("energies ", h("b", {}, safe(F.potential)), `, ${F.treated}`) : fact("no energies per guest"),
    F.known ? fact("known sites found first: ", h("b", {}, `${count(F.known_right)} of ${count(F.known)}`)) : null,
    F.created ? fact(F.created.slice(0, 10)) : null,
  );
}
function answers() {
  const rows = state.rows,
    low = rows.filter((r) => r.energy !== null).reduce((a, b) => (a && a.energy <= b.energy ? a : b), null),
    high = rows
      .filter((r) => r.voltage !== null && r.ion === ions[0])
      .reduce((a, b) => (a && a.voltage >= b.voltage ? a : b), null),
    known = rows.filter((r) => r.confidence !== null),
    sure = known.filter((r) => r.confidence >= 0.95).length,
    look = ["failed", "none", "wrong", "disagree"].find((f) => state.seen.get(f));
  const card = (k, v, d, href, cls, onclick) =>
    h(
      onclick ? "button" : "a",
      { class: `card answer ${cls || ""}`, href, type: onclick ? "button" : null, onclick },
      h("span", { class: "k" }, k),
      h("span", { class: "v" }, v),
      h("span", { class: "d" }, d),
    );
  const search = () => {
    $("#q").value = state.query = "sure>=95";
    refresh();
  };
  const filter = () => {
    state.flag = state.flag === look ? "" : look;
    refresh();
  };
  const at = (r) => `${r.guests} at ${r.site || "a site without a name"} of ${safe(r.host)}`;
  return h(
    "div",
    { class: "answers" },
    low
      ? card("Lowest energy", [num(low.energy, 2), h("small", {}, " eV per guest")], at(low), address(low))
      : card("Energies", "not known", "the file has no energies per guest", "#/"),
    high
      ? card(`Highest voltage, ${ions[0]}`, [num(high.voltage, 2), h("small", {}, " V")], at(high), address(high))
      : card("Guests", String(ions.length), ions.slice(0, 6).join(", "), "#/"),
    known.length
      ? card(
          "Sure: 95 % and more",
          [count(sure), h("small", {}, ` of ${count(known.length)}`)],
          "that the first candidate is right",
          null,
          "",
          search,
        )
      : card("Results", count(rows.length), "confidence is not known; see how many samples agree", "#/"),
    look
      ? card(
          FLAGS[look][2],
          [count(state.seen.get(look)), h("small", {}, ` of ${count(rows.length)}`)],
          "click to list them",
          null,
          "warn",
          filter,
        )
      : card("To look at", "nothing", "no failures, and samples and energies agree", "#/"),
  );
}
function overview() {
  const chart = scatter(state.rows);
  const legend =
    state.rows.length > 400
      ? "darker: more results"
      : ions.slice(0, 5).map((i) => [ionDom(i, i), "\u2002"]);
  const figure = chart
    ? h(
        "figure",
        { class: "card pad" },
        h("div", { class: "cardhead tight" }, h("h2", {}, chart.title), h("p", {}, legend)),
        chart,
      )
    : null;
  const lead = h(
    "div",
    { class: "lead" },
    h("div", {}, h("h1", { id: "ptitle", tabindex: "-1" }, FACTS.heading), factLine()),
    answers(),
  );
  listBox = makeList(false);
  const terms = ["sure", "agreement", "wyckoff", "energy", "voltage"].flatMap((t, i) => [i ? " · " : "", term(t)]);
  const key = h(
    "p",
    { class: "dim key" },
    "Blue: samples that ended in the candidate of lowest energy. Outlined: the samples' favourite, where that is another one. ",
    terms,
  );
  return h("div", {}, h("div", { class: `hero${chart ? "" : " wide"}` }, lead, figure), listBox, key, below());
}
function below() {
  const F = FACTS,
    flat = (o) =>
      Object.entries(o).flatMap(([k, v]) =>
        v && typeof v === "object" ? flat(v) : v === null ? [] : [[k, String(v)]],
      ),
    settings = flat(F.settings),
    versions = ["torch", "chgnet", "pymatgen", "spglib", "e3nn"]
      .filter((k) => F.versions[k])
      .map((k) => [k, String(F.versions[k])]);
  const failures = state.rows.filter((r) => r.flags.includes("failed"));
  const table = () => {
    const line = (r) =>
      h(
        "tr",
        {},
        h("td", {}, h("a", { href: address(r) }, safe(r.host))),
        h("td", {}, ionDom(r.ion, r.guests)),
        h("td", {}, h("code", {}, safe(r.note))),
      );
    return h(
      "section",
      { class: "card pad", id: "failures" },
      h("div", { class: "cardhead" }, h("h2", {}, `Failures (${count(failures.length)})`)),
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
              ["Host", "Guests", "Error"].map((t) => h("th", { scope: "col" }, t)),
            ),
          ),
          h("tbody", {}, failures.slice(0, 20).map(line)),
        ),
      ),
    );
  };
  const half = Math.ceil(settings.length / 2);
  return h(
    "div",
    { class: "below" },
    failures.length ? table() : null,
    h(
      "section",
      { class: "card pad", id: "made" },
      h("div", { class: "cardhead" }, h("h2", {}, "How this was made"), h("p", {}, safe(F.source))),
      h(
        "div",
        { class: "prov" },
        h(
          "div",
          {},
          h("h3", {}, "Model, software and time"),
          kv([
            ["Weights", F.weights || "–"],
            ["sha256", h("code", {}, F.weights_sha256.slice(0, 32))],
            ["Energies", F.potential ? `${F.potential}, ${F.treated}` : "none"],
            ["inpaint_hpc", F.versions.inpaint_hpc ? String(F.versions.inpaint_hpc) : F.version],
            ...versions,
            F.campaign ? ["Campaign", h("code", {}, F.campaign.slice(0, 16))] : null,
          ]),
          stack(F.seconds),
        ),
        h("div", {}, h("h3", {}, "Settings"), kv(settings.slice(0, half))),
        h("div", {}, h("h3", {}, "\u00a0"), kv(settings.slice(half))),
      ),
      h(
        "p",
        { class: "take noprint" },
        h(
          "button",
          { class: "btn small", type: "button", onclick: () => save(csv(state.shown), "report.csv", "text/csv") },
          icon("down"),
          "Table as CSV",
        ),
      ),
    ),
    h(
      "section",
      { class: "card pad keep", id: "words" },
      h("div", { class: "cardhead" }, h("h2", {}, "Words")),
      h(
        "dl",
        { class: "gloss" },
        Object.values(GLOSSARY).map(([t, d]) => h("div", {}, h("dt", {}, t), h("dd", {}, d))),
      ),
    ),
  );
}
