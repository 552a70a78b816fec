"""From parameters theta to a mask: K in the forward pass, its sparsity, and the binary mask in the end.

All three are monotone in theta: the smallest theta are pruned first.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from onemask.masking.settings import MaskSettings

Matrix = Float[Tensor, "d_model d_mlp"]
Scalar = Float[Tensor, ""]


@dataclass(frozen=True)
class Sigmoid:
    """K = sigmoid(theta / tau), the paper's (section 4)."""

    settings: MaskSettings

    def soft(self, theta: Matrix, tau: float, noise: Generator) -> Matrix:
        """K as the forward pass uses it, differentiable in theta."""
        return self.strength(theta, tau)

    def pruned(self, theta: Matrix, soft: Matrix) -> Scalar:
        """The share that the sparsity penalty holds against S_max, differentiable in theta."""
        return (1 - soft).mean()

    def strength(self, theta: Matrix, tau: float) -> Matrix:
        """K without noise; a weight is kept where it is at least gamma."""
        return torch.sigmoid(theta / tau)


@dataclass(frozen=True)
class HardConcrete:
    """Stretched and clipped binary concrete gates, whose penalty is the expected L0 norm (Louizos et al. 2018, eqs. 10-12)."""

    settings: MaskSettings

    def _stretched(self, gate: Matrix) -> Matrix:
        by = self.settings.concrete_stretch
        return (gate * (1 + 2 * by) - by).clamp(0, 1)

    def soft(self, theta: Matrix, tau: float, noise: Generator) -> Matrix:
        """A sampled gate a weight, exactly 0 or 1 with positive probability."""
        uniform = torch.rand(theta.shape, generator=noise, device=theta.device, dtype=theta.dtype).clamp(1e-6, 1 - 1e-6)
        return self._stretched(torch.sigmoid((uniform.logit() + theta) / self.settings.concrete_temperature))

    def pruned(self, theta: Matrix, soft: Matrix) -> Scalar:
        """Expected share of gates that are exactly 0."""
        by = self.settings.concrete_stretch
        return torch.sigmoid(self.settings.concrete_temperature * math.log(by / (1 + by)) - theta).mean()

    def strength(self, theta: Matrix, tau: float) -> Matrix:
        """The gate at its location, without noise."""
        return self._stretched(torch.sigmoid(theta))


@dataclass(frozen=True)
class TopK:
    """Straight-through: the forward pass prunes exactly the share s_max, the gradient passes as if K were theta."""

    settings: MaskSettings

    def soft(self, theta: Matrix, tau: float, noise: Generator) -> Matrix:
        """The binary mask, with the gradient of theta."""
        return self.strength(theta, tau) + (theta - theta.detach())

    def pruned(self, theta: Matrix, soft: Matrix) -> Scalar:
        """The budget itself: there is nothing to penalise."""
        return (1 - soft.detach()).mean()

    def strength(self, theta: Matrix, tau: float) -> Matrix:
        """1 where the weight is kept."""
        return keep_largest(theta, self.settings.s_max).to(theta.dtype)


PARAMETRISATIONS = {"sigmoid": Sigmoid, "hard-concrete": HardConcrete, "topk": TopK}


def of(settings: MaskSettings) -> Sigmoid | HardConcrete | TopK:
    """The parametrisation that the settings name."""
    return PARAMETRISATIONS[settings.parametrisation](settings)


@torch.no_grad()
def keep_largest(values: Matrix, share: float) -> Bool[Tensor, "d_model d_mlp"]:
    """False for exactly the share of smallest values (the first of equal ones), true elsewhere."""
    keep = torch.ones(values.numel(), dtype=torch.bool, device=values.device)
    keep[values.flatten().argsort(stable=True)[: round(share * values.numel())]] = False
    return keep.view_as(values)


@torch.no_grad()
def hard_mask(theta: Matrix, settings: MaskSettings, tau: float) -> Bool[Tensor, "d_model d_mlp"]:
    """The binary mask, true where the weight is kept: K >= gamma, or all but the share s_max with the smallest theta."""
    if settings.cut == "share":
        return keep_largest(theta, settings.s_max)
    return of(settings).strength(theta, tau) >= settings.gamma
