/* Words that are explained, once for tooltips and for the list; small messages and dialogs. */
const GLOSSARY = {
  host: [
    "Host",
    "The crystal without the ions in question. Its atoms stay where they are unless a relaxation moves them.",
  ],
  candidate: [
    "Candidate",
    "One way to place the ions. Samples that are equal under the host's symmetry count as one candidate.",
  ],
  sample: [
    "Sample",
    "One independent draw of the network: ions start at random places and are moved to where ions of training crystals sit.",
  ],
  agreement: [
    "Agreement",
    "Samples that ended in this candidate, of all possible samples. Many independent draws that end alike are a good sign.",
  ],
  sure: [
    "How sure",
    "Chance that the first candidate is right, as measured on hosts whose answer is known: from the samples that agree with it, whether most samples prefer another place, and the forces there.",
  ],
  wyckoff: [
    "Wyckoff position",
    "Name of a set of equivalent places in a space group: 8a is a set of eight in the conventional cell. The letter depends on the choice of origin.",
  ],
  energy: [
    "Energy per guest",
    "[E(host with n guests) − E(host)] / n by CHGNet, the host treated as the candidates are. Lower is better among candidates of one host and ion; between ions, compare voltages.",
  ],
  voltage: [
    "Voltage",
    "[E(metal) − energy per guest] / charge: the average voltage against the ion's metal from the empty host up to this filling. Below zero the ion would rather stay in its metal.",
  ],
  placed: [
    "As placed",
    "Ions where the samples put them; nothing was relaxed. The host has not made room yet, so energies are too high.",
  ],
  relaxed: [
    "Relaxed",
    "Atoms moved along CHGNet's forces until these are small. What was free to move is said beside the energies.",
  ],
  hull: [
    "Hull",
    "Lower convex envelope of the energies of all fillings. A filling above it would split into its neighbours on it.",
  ],
  charge: [
    "Most by charge",
    "Each ion brings electrons that reduce the host's transition metals; at this filling they reach the oxidation state that is named. A count, not a prediction.",
  ],
  chgnet: [
    "CHGNet",
    "A pretrained neural potential for energies and forces of crystals (B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023)).",
  ],
  spread: ["Spread", "Root mean square distance of the samples of a candidate from their mean place. Small is sharp."],
  origin: [
    "Origin",
    "Which search found it: joint (all ions at once), sequential (one after another), orbits and ordering (on the site network), settled (ordering that the network refined).",
  ],
  network: ["Sites of the host", "All places that samples of this ion ever chose, grouped by the host's symmetry."],
  weights: ["Weights", "Parameters of the trained network. Name and sha256 say exactly which."],
  impossible: [
    "Impossible sample",
    "A sample with an ion closer than 0.6 times the sum of covalent radii to another atom. It is thrown away and drawn again.",
  ],
  coordination: [
    "Neighbours",
    "Atoms in the first shell around the ion; the shell ends at the largest gap in 1/distance (Brunner, 1977).",
  ],
};
const term = (key, text) =>
  h(
    "button",
    { type: "button", class: "term", "data-term": key, "aria-label": `${text || GLOSSARY[key][0]}: what is this?` },
    text || GLOSSARY[key][0],
  );
function explain(button) {
  const pop = $("#pop"),
    [title, text] = GLOSSARY[button.dataset.term],
    box = button.getBoundingClientRect();
  fill(pop, h("b", {}, title), text);
  pop.showPopover();
  const w = pop.offsetWidth,
    t = pop.offsetHeight;
  pop.style.left = `${Math.max(8, Math.min(innerWidth - w - 8, box.left))}px`;
  pop.style.top = `${box.bottom + t + 12 < innerHeight ? box.bottom + 6 : Math.max(8, box.top - t - 6)}px`;
}
document.addEventListener(
  "click",
  (e) => {
    const b = e.target.closest?.(".term");
    if (b) {
      e.stopPropagation();
      e.preventDefault();
      explain(b);
    }
  },
  true,
);
const toast = (text) => {
  $("#live").textContent = text;
  const t = $("#toast");
  t.textContent = text;
  t.classList.add("on");
  clearTimeout(toast.t);
  toast.t = setTimeout(() => t.classList.remove("on"), 1800);
};
function dialog(title, body, ...buttons) {
  const d = $("#dialog");
  fill(
    d,
    h(
      "div",
      { class: "dh" },
      h("h2", { id: "dialogtitle" }, title),
      ...buttons,
      h(
        "button",
        { class: "btn icon quiet", type: "button", "aria-label": "Close", onclick: () => d.close() },
        icon("close"),
      ),
    ),
    body,
  );
  if (!d.open) d.showModal();
}
