/* Data: compressed blocks of the page, unpacked when they are needed. */
const whole = new Promise((done) =>
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", done, { once: true }) : done(),
);
async function inflate(id) {
  if (!document.getElementById(id)) await whole; /* the table stands before the last block has been read */
  const raw = atob(document.getElementById(id).textContent.trim()),
    bytes = Uint8Array.from(raw, (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}
let FACTS = null;
const state = { rows: [], shown: [], sort: ["", 1], query: "", ion: "", flag: "", open: null, seen: new Map() };
const chunks = new Map();
async function panelOf(row) {
  const at = Math.floor(row.index / FACTS.chunk);
  if (!chunks.has(at)) chunks.set(at, inflate(`chunk-${at}`).then(JSON.parse));
  if (chunks.size > 12) chunks.delete(chunks.keys().next().value);
  return (await chunks.get(at))[row.index % FACTS.chunk];
}
/* kind of the icon, class, words */
const FLAGS = {
  failed: ["bad", "bad", "Failed"],
  none: ["bad", "bad", "No place found"],
  wrong: ["bad", "bad", "Misses the known site"],
  disagree: ["warn", "warn", "Samples and energy disagree"],
  costs: ["warn", "warn", "Costs energy"],
  treatment: ["note", "", "Other treatment"],
  rest: ["note", "", "Relaxation not finished"],
  note: ["note", "", "Note"],
};
const flagText = (flag, row) =>
  flag === "disagree" ? `Samples prefer ${otherSite(row)}` : flag === "note" ? row.note : FLAGS[flag][2];
/* two candidates may have the same letter: then the favourite is another orbit of it */
const otherSite = (row) => (row.most_site === row.site ? `another ${row.site}` : row.most_site || "another place");
async function load() {
  const index = JSON.parse(await inflate("index")),
    names = Object.keys(index.columns);
  FACTS = index.facts;
  state.rows = index.columns.id.map((_, i) => {
    const row = { index: i };
    for (const name of names) row[name] = index.columns[name][i];
    const words = row.flags.map((f) => FLAGS[f][2]);
    row.hay = [row.host, row.formula, row.guests, row.spacegroup, row.site, row.around, row.note, row.id, ...words]
      .join(" ")
      .toLowerCase();
    for (const f of row.flags) state.seen.set(f, (state.seen.get(f) || 0) + 1);
    return row;
  });
  const found = new Map();
  for (const r of state.rows) found.set(r.ion, (found.get(r.ion) || 0) + 1);
  const place = (ion) => FACTS.ions.indexOf(ion) + 1 || FACTS.ions.length + 1;
  ions = [...found].sort((a, b) => b[1] - a[1] || place(a[0]) - place(b[0])).map((x) => x[0]);
  state.energies = state.rows.some((r) => r.energy !== null);
  state.voltages = state.rows.some((r) => r.voltage !== null);
}
const address = (row) => `#/${row.id}`;
