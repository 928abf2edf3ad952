"""e3nn's `o3` without torch's compiler.

e3nn marks one function as not to be compiled, for which torch imports its compiler: about a fifth of the time in which
a worker starts.  Nothing here compiles that function, so that it needs no mark.
"""

from __future__ import annotations

from typing import Any

import torch


def _as_it_is(fn: Any = None, recursive: Any = True, *, reason: Any = None) -> Any:
    return fn or (lambda function: function)


_disable = torch.compiler.disable
torch.compiler.disable = _as_it_is
try:
    from e3nn import o3
finally:
    torch.compiler.disable = _disable

__all__ = ["o3"]
