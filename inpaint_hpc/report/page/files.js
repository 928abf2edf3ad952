/* Files to take away: the structure that is shown, and the table. */
const oneLine = (t) => safe(t).replace(/[^\x20-\x7e]/g, "_");
function cif(st, name) {
  const L = st.lattice,
    len = L.map(V.len),
    ang = [
      [1, 2],
      [0, 2],
      [0, 1],
    ].map(([i, j]) => (Math.acos(V.dot(L[i], L[j]) / len[i] / len[j]) * 180) / Math.PI),
    n = {};
  return [
    `# inpaint_hpc ${FACTS.version}, weights ${oneLine(FACTS.weights)} ${FACTS.weights_sha256.slice(0, 12)}`,
    `data_${name.replace(/[^\w.-]/g, "_")}`,
    "_symmetry_space_group_name_H-M   'P 1'",
    ..."abc".split("").map((t, i) => `_cell_length_${t}   ${len[i].toFixed(6)}`),
    ...["alpha", "beta", "gamma"].map((t, i) => `_cell_angle_${t}   ${ang[i].toFixed(5)}`),
    "loop_",
    " _symmetry_equiv_pos_as_xyz",
    "  'x, y, z'",
    "loop_",
    " _atom_site_label",
    " _atom_site_type_symbol",
    " _atom_site_fract_x",
    " _atom_site_fract_y",
    " _atom_site_fract_z",
    ...st.numbers.map(
      (z, i) => `  ${EL[z]}${(n[z] = (n[z] || 0) + 1)} ${EL[z]} ${st.frac[i].map((x) => x.toFixed(6)).join(" ")}`,
    ),
    "",
  ].join("\n");
}
function poscar(st, name) {
  const order = [...new Set(st.numbers)],
    rows = order.map((z) => st.numbers.map((y, i) => (y === z ? i : -1)).filter((i) => i >= 0));
  return [
    oneLine(name),
    "1.0",
    ...st.lattice.map((v) => v.map((x) => x.toFixed(8).padStart(14)).join(" ")),
    order.map((z) => EL[z]).join(" "),
    rows.map((r) => r.length).join(" "),
    "Direct",
    ...rows.flat().map((i) => st.frac[i].map((x) => x.toFixed(8).padStart(12)).join(" ")),
    "",
  ].join("\n");
}
function save(text, name, type = "text/plain") {
  const url = URL.createObjectURL(text instanceof Blob ? text : new Blob([text], { type })),
    a = h("a", { href: url, download: name.replace(/[^\w.+-]/g, "_") });
  document.body.append(a);
  a.click();
  a.remove();
  setTimeout(() => URL.revokeObjectURL(url), 5000);
  toast(`Saved ${a.download}`);
}

/* a cell that a spreadsheet would take for a formula is kept from it by a quote */
function csvCell(value) {
  const text = value === null || value === undefined ? "" : String(value),
    formula = typeof value === "string" && /^[=+@\-\t\r]/.test(text);
  return formula || /[",\r\n]/.test(text) ? `"${formula ? "'" : ""}${text.replaceAll('"', '""')}"` : text;
}
function csv(rows) {
  const names = ["host", "formula", "spacegroup", "guests", "site", "around", "confidence", "agree", "valid"];
  const head = [...names, "energy_per_guest_eV", "voltage_V", "note", "task"];
  const line = (r) => [...names.map((n) => r[n]), r.energy, r.voltage, r.note, r.id].map(csvCell).join(",");
  return [head.join(","), ...rows.map(line), ""].join("\n");
}
