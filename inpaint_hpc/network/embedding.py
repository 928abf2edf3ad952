"""Embedding of chemical elements."""

from __future__ import annotations

import torch
from torch import nn


def periodic_table_position(max_atomic_number: int) -> torch.Tensor:
    """Period (1-7) and group (1-18; 0 for the f block) of elements 0..max, int64 (max + 1, 2)."""
    noble = [0, 2, 10, 18, 36, 54, 86, 118]
    rows = [[0, 0]]
    for z in range(1, max_atomic_number + 1):
        period = next(p for p in range(1, 8) if z <= noble[p])
        place, length = z - noble[period - 1], noble[period] - noble[period - 1]
        if place <= 2 and z != 2:
            group = place
        elif length == 32 and place < 17:
            group = 0 if place > 3 else 3
        else:
            group = place + 18 - length
        rows.append([period, group])
    return torch.tensor(rows)


class ElementEmbedding(nn.Module):
    """Sum of learnt vectors for the element, its group and its period: rare elements borrow from their neighbours."""

    def __init__(self, width: int, max_atomic_number: int = 94) -> None:
        super().__init__()
        self.element = nn.Embedding(max_atomic_number + 1, width)
        self.group = nn.Embedding(19, width)
        self.period = nn.Embedding(8, width)
        self.place: torch.Tensor
        self.register_buffer("place", periodic_table_position(max_atomic_number), persistent=False)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """(n,) atomic numbers -> (n, width), of about unit variance."""
        period, group = self.place[numbers].unbind(1)
        return (self.element(numbers) + self.group(group) + self.period(period)) * 3**-0.5
