"""What a mask's training is told: the constants of appendix A, and what changes over the epochs."""

import math
from dataclasses import dataclass

from onemask.io.errors import OnemaskError


@dataclass(frozen=True)
class MaskSettings:
    """Constants of appendix A under the paper's symbols; config/schemas/model.schema.yaml has each one's source and unit.

    parametrisation: a name of `parametrisations.PARAMETRISATIONS`. cut: how the trained mask becomes binary, "gamma" (kept where
    K >= gamma) or "share" (exactly the share s_max is pruned). batch_tokens, cache_mb: bound memory, change no result.
    precision: type of the matrix products. Raises OnemaskError where gamma or s_max is outside (0, 1).
    """

    parametrisation: str
    cut: str
    epochs: int
    lr: float
    batch_edits: int
    gamma: float
    s_max: float
    delta_margin: float
    beta_kl: float
    theta_mean: float
    theta_sd: float
    tau_start: float
    tau_decay: float
    temperature_start: float
    temperature_end: float
    lambda_start: float
    lambda_end: float
    gradient_clip: float
    validation_share: float
    concrete_temperature: float
    concrete_stretch: float
    precision: str
    batch_tokens: int
    cache_mb: int

    def __post_init__(self):
        for name in ("gamma", "s_max"):
            if not 0 < getattr(self, name) < 1:
                raise OnemaskError(f"{name} between 0 and 1", f"{getattr(self, name)}", "Correct the mask's settings.")


@dataclass(frozen=True)
class Schedule:
    """What changes over training, at progress t / T in [0, 1]."""

    tau: float
    temperature: float
    weight: float


def schedule(settings: MaskSettings, progress: float) -> Schedule:
    """tau decays exponentially; the KL temperature and the sparsity weight lambda grow linearly."""
    return Schedule(
        tau=settings.tau_start * math.exp(-settings.tau_decay * progress),
        temperature=settings.temperature_start + progress * (settings.temperature_end - settings.temperature_start),
        weight=settings.lambda_start + progress * (settings.lambda_end - settings.lambda_start),
    )
