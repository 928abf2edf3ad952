"""Counter-based random numbers: Philox4x32-10 in torch.

A random number is a pure function of its use (task, seed, sample, step, purpose, atom), not of how many were
drawn before it.  A sample is therefore the same in any batch, shard or restart, on any number of workers.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11;
checked against the known answers of their Random123 library.
"""

from __future__ import annotations

import hashlib
import math
from enum import IntEnum

import torch

_MASK16, _MASK32 = 0xFFFF, 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
# Repeats of a purpose within a step share one counter word with the purpose.
_MAX_PURPOSES = 256


class Purpose(IntEnum):
    """Use of a random number.  The values are needed to reproduce runs: never renumber them."""

    PRIOR = 0
    PREDICTOR = 1
    CORRECTOR = 2
    HOST = 3
    TIME_TRAVEL = 4
    START = 5


def task_key(task_id: str, seed: int) -> tuple[int, int]:
    """Key of a task: the first 8 bytes of sha256("<task id>:<seed>") as two 32-bit words."""
    digest = hashlib.sha256(f"{task_id}:{seed}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def philox4x32(counter: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Philox4x32 with 10 rounds.

    Args:
        counter: four 32-bit words in int64, (4, n).
        key: two 32-bit words in int64, (2, n).

    Returns:
        Four random 32-bit words in int64, (4, n).
    """
    device = counter.device
    multipliers = torch.tensor(_MULTIPLIERS, device=device)[:, None]
    # 32 x 16 bit products stay below 2**48: exact in int64 on every device, without relying on overflow.
    low_half, high_half = multipliers & _MASK16, multipliers >> 16
    weyl = torch.tensor(_WEYL, device=device)[:, None]
    even, odd = counter[0::2], counter[1::2]
    for _ in range(_ROUNDS):
        p0, p1 = even * low_half, even * high_half
        high = (p1 + (p0 >> 16)) >> 16
        low = (p0 + ((p1 & _MASK16) << 16)) & _MASK32
        even, odd = high.flip(0) ^ odd ^ key, low.flip(0)
        key = (key + weyl) & _MASK32
    return torch.stack([even[0], odd[0], even[1], odd[1]])


class CounterRng:
    """Random numbers of a batch of samples, which may belong to different tasks.

    Args:
        keys: key of each sample (`task_key`), int64 (S, 2).
        samples: index of each sample within its task, int64 (S,), in [0, 2**32).
    """

    def __init__(self, keys: torch.Tensor, samples: torch.Tensor) -> None:
        self.keys, self.samples = keys, samples

    def bits(
        self, row: torch.Tensor, step: int | torch.Tensor, purpose: Purpose, atom: torch.Tensor, repeat: int = 0
    ) -> torch.Tensor:
        """Four 32-bit words for each atom, int64 (4, n); arguments as in `uniform`."""
        steps = step if torch.is_tensor(step) else torch.tensor([step], device=row.device).expand(len(row))
        purposes = torch.tensor([int(purpose) + _MAX_PURPOSES * repeat], device=row.device).expand(len(row))
        counter = torch.stack([self.samples[row], steps, purposes, atom])
        return philox4x32(counter, self.keys[row].T)

    def uniform(
        self, row: torch.Tensor, step: int | torch.Tensor, purpose: Purpose, atom: torch.Tensor, repeat: int = 0
    ) -> torch.Tensor:
        """Uniform numbers in (0, 1), float64 (n, 3).

        Args:
            row: row of `keys` and `samples` of each atom, int64 (n,).
            step: number of the step of the sampling loop; of each atom, int64 (n,), or of all.
            purpose: what the numbers are for.
            atom: index of each atom within its sample, int64 (n,).
            repeat: how often this purpose has occurred in this step before.
        """
        return _open_interval(self.bits(row, step, purpose, atom, repeat)[:3]).T

    def normal(
        self, row: torch.Tensor, step: int | torch.Tensor, purpose: Purpose, atom: torch.Tensor, repeat: int = 0
    ) -> torch.Tensor:
        """Standard normal numbers, float64 (n, 3), by the Box-Muller transform; arguments as in `uniform`."""
        u = _open_interval(self.bits(row, step, purpose, atom, repeat))
        radius = torch.sqrt(-2.0 * torch.log(u[0::2]))
        angle = (2.0 * math.pi) * u[1::2]
        return torch.stack([radius[0] * torch.cos(angle[0]), radius[0] * torch.sin(angle[0]),
                            radius[1] * torch.cos(angle[1])], 1)  # fmt: skip


def _open_interval(words: torch.Tensor) -> torch.Tensor:
    return (words.double() + 0.5) * 2.0**-32
