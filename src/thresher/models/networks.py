"""Several networks as one module, for methods in which networks teach each other.

One module means one optimiser, one wrapper for distributed training and one checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from thresher.errors import ModelError
from thresher.models.logits import logits_of

__all__ = ["Networks"]


class Networks(nn.Module):
    """J independent networks that see the same batch.

    Args:
        members: The networks, J >= 1; no two may share a parameter.
    Shapes:
        (B, …) float32; returns logits (J, B, k).
    Raises:
        ModelError: No members, or members that share parameters.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if not members:
            raise ModelError("There is no network.", "Pass at least one.")
        self.members = nn.ModuleList(members)
        parameters = [id(each) for member in self.member_parameters() for each in member]
        if len(set(parameters)) < len(parameters):
            raise ModelError(
                "Two networks share a parameter, so they cannot learn apart.",
                "Let the factory build a new network on every call.",
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, …) to logits (J, B, k)."""
        return torch.stack([logits_of(member(inputs)) for member in self.members])

    def member_parameters(self) -> list[list[nn.Parameter]]:
        """List the parameters of each network, to scale or clip their gradients apart."""
        return [list(member.parameters()) for member in self.members]
