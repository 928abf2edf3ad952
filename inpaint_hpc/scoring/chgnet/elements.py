"""Elements that CHGNet was not trained on.

MPtrj, which 0.2.0 and 0.3.0 were trained on, has 89 of the elements up to Pu (B. Deng et al., Nat. Mach. Intell. 5,
1031 (2023)).  The reference energies inside the r2SCAN weights, a fit to their training data, are zero for the elements
without any: the same five and Yb.
"""

from __future__ import annotations

_NOT_IN_MPTRJ = frozenset({84, 85, 86, 87, 88})  # Po At Rn Fr Ra
UNTAUGHT = {"0.3.0": _NOT_IN_MPTRJ, "0.2.0": _NOT_IN_MPTRJ, "r2scan": _NOT_IN_MPTRJ | {70}}
"""Weights -> atomic numbers; of other weights nothing is known."""
