"""The same product on any device that torch knows. Apart from the others, because it loads torch.

Q queries of a block, T targets of a block
"""

from typing import Any

import numpy as np
import torch

from vlm2vec_cli.nearest.product import Floats, Ints


class OnDevice:
    """Queries and scores stay on the device; targets go there block by block, what is high comes back."""

    block_rows = 1 << 15  # 512 MB of scores with as many queries as a block has
    looked_at = 1 << 26

    def __init__(self, queries: Floats, device: torch.device) -> None:
        # TF32 would be off by more than the bound that makes the search exact.
        torch.set_float32_matmul_precision("highest")
        self._device = device
        self._queries_QD = self._there(queries)
        self._scores_QT = torch.empty(0, 0, device=device)

    def meet(self, targets_TD: Floats) -> None:
        """One matrix product."""
        self._scores_QT = self._queries_QD @ self._there(targets_TD).T

    def kth(self, k: int) -> Floats:
        """By partial sorting."""
        found: Floats = _here(self._scores_QT.topk(k, dim=1).values[:, -1])
        return found

    def at_least(self, low: int, high: int, floor: Floats) -> tuple[Ints, Ints, Floats]:
        """By comparing all."""
        scores_QT = self._scores_QT[low:high]
        rows, columns = torch.nonzero(scores_QT >= self._there(floor)[:, None], as_tuple=True)
        return _here(rows) + low, _here(columns), _here(scores_QT[rows, columns])

    def _there(self, numbers: Floats) -> torch.Tensor:
        return torch.from_numpy(np.array(numbers)).to(self._device)  # a copy: mapped files are read-only


def _here(numbers: torch.Tensor) -> Any:
    return numbers.cpu().numpy()
