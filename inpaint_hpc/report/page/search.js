/* Search, filters and order of the table. */
const KEYS = {
  sure: (r) =>
    r.confidence !== null ? 100 * r.confidence : r.valid && r.agree ? (100 * r.agree) / r.valid : null,
  energy: (r) => r.energy,
  voltage: (r) => r.voltage,
  host: (r) => r.host,
  ion: (r) => r.guests,
  site: (r) => r.site || null,
  notes: (r) => r.flags.length,
};
function tests(query) {
  return query
    .toLowerCase()
    .split(/\s+/)
    .filter(Boolean)
    .map((word) => {
      const m = /^(sure|energy|voltage)(<=?|>=?)(-?[\d.]+)$/.exec(word.replace("−", "-"));
      if (!m) return (r) => r.hay.includes(word);
      const key = KEYS[m[1]],
        x = Number(m[3]);
      return (r) => {
        const y = key(r);
        return y !== null && ((m[2].length > 1 && y === x) || (m[2][0] === "<" ? y < x : y > x));
      };
    });
}
function select() {
  const wanted = tests(state.query),
    [key, direction] = state.sort,
    get = KEYS[key];
  state.shown = state.rows.filter(
    (r) =>
      (!state.ion || r.ion === state.ion) && (!state.flag || r.flags.includes(state.flag)) && wanted.every((f) => f(r)),
  );
  /* rows without a value stand last in either direction */
  if (get)
    state.shown.sort((a, b) => {
      const x = get(a),
        y = get(b);
      if (x === null || y === null) return (x === null) - (y === null);
      return direction * (x < y ? -1 : x > y ? 1 : 0);
    });
}
