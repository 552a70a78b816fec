"""Three ways from theta to a mask: what each prunes is what it says, and gradients, seeds and budgets hold."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Generator

from onemask.io.errors import OnemaskError
from onemask.masking import parametrisations
from onemask.masking.masks import pruned_share
from onemask.masking.parametrisations import hard_mask, keep_largest
from test_masking import SETTINGS

each = pytest.mark.parametrize("name", parametrisations.PARAMETRISATIONS)
SAMPLED = "hard-concrete"


def settings_of(name: str, **other):
    return replace(SETTINGS, parametrisation=name, **other)


def made(name: str, **other):
    return parametrisations.of(settings_of(name, **other))


def some_theta(rows: int = 20, columns: int = 30) -> torch.Tensor:
    return torch.randn(rows, columns, generator=Generator().manual_seed(0))


def soft(name: str, theta: torch.Tensor, tau: float = 1.0, seed: int = 1) -> torch.Tensor:
    return made(name).soft(theta, tau, Generator().manual_seed(seed))


def test_sigmoid_is_the_papers():
    theta = some_theta()
    keep = soft("sigmoid", theta, tau=0.5)
    torch.testing.assert_close(keep, 1 / (1 + torch.exp(-theta / 0.5)))
    assert float(made("sigmoid").pruned(theta, keep)) == pytest.approx(1 - float(keep.mean()), rel=1e-5)


def test_hard_concrete_gates_are_those_of_the_source():
    """Louizos et al. 2018, equations 10 and 11, with their constants gamma = -0.1, zeta = 1.1, beta = 2/3."""
    theta, uniform = some_theta(), torch.rand(20, 30, generator=Generator().manual_seed(1))
    concrete = torch.sigmoid((uniform.log() - (1 - uniform).log() + theta) / (2 / 3))
    expected = torch.clamp(concrete * (1.1 - -0.1) + -0.1, 0, 1)
    torch.testing.assert_close(soft(SAMPLED, theta, seed=1), expected, rtol=1e-4, atol=1e-5)


DRAWS = 100_000


def shares_of_zeros(theta: torch.Tensor) -> torch.Tensor:
    """How often each gate is exactly 0."""
    return (soft(SAMPLED, theta.expand(DRAWS, -1)) == 0).double().mean(0)


def expected_shares(theta: torch.Tensor, **other) -> torch.Tensor:
    """The sparsity term of each theta alone."""
    return torch.stack([made(SAMPLED, **other).pruned(value, None) for value in theta]).double()


def test_hard_concrete_penalty_is_the_share_of_exact_zeros():
    """Louizos et al. 2018, equation 12: P(gate = 0). Each is within five standard errors of its draws.

    The draws see another temperature.
    """
    theta = torch.linspace(-3, 3, 9)
    found, expected = shares_of_zeros(theta), expected_shares(theta)
    bound = 5 * (expected * (1 - expected) / DRAWS).sqrt()
    assert ((found - expected).abs() < bound).all()
    assert ((found - expected_shares(theta, concrete_temperature=0.7)).abs() > bound).any()
    assert float(made(SAMPLED).pruned(theta, None)) == pytest.approx(float(expected.mean()))


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_topk_prunes_its_budget_exactly_and_passes_the_gradient_through(share):
    theta = torch.randn(8, 10, generator=Generator().manual_seed(0)).requires_grad_(True)
    parametrisation = made("topk", s_max=share)
    keep = parametrisation.soft(theta, 1.0, Generator())
    assert int((keep == 0).sum()) == round(80 * share) and int((keep == 1).sum()) == 80 - round(80 * share)
    assert float(theta.detach()[keep.detach() == 0].max()) < float(theta.detach()[keep.detach() == 1].min())
    assert float(parametrisation.pruned(theta, keep)) == pytest.approx(share)
    (keep * torch.arange(10.0)).sum().backward()
    assert torch.equal(theta.grad, torch.arange(10.0).expand(8, 10))


@each
def test_strength_and_gates_grow_with_theta(name):
    theta = torch.linspace(-4, 4, 101)
    strength = made(name).strength(theta, 1.0)
    assert (strength.diff() >= 0).all() and float(strength[-1]) > float(strength[0])
    # the same uniform for every theta: each is drawn first by a fresh generator
    gates = torch.stack([soft(name, value[None])[0] for value in theta]) if name == SAMPLED else soft(name, theta)
    assert (gates.diff() >= 0).all() and float(gates[-1]) > float(gates[0])


@each
def test_the_penalty_shrinks_as_theta_grows(name):
    """But for top-k, whose budget is fixed."""
    low, high = (float(made(name).pruned(theta, soft(name, theta))) for theta in (some_theta(), some_theta() + 0.5))
    assert low == pytest.approx(SETTINGS.s_max) == high if name == "topk" else low > high + 0.01


@each
def test_gradients_reach_theta_through_the_gates(name):
    theta = some_theta().requires_grad_(True)
    gates = soft(name, theta)
    gates.sum().backward()
    inside = (gates > 0) & (gates < 1) if name == SAMPLED else torch.ones_like(gates, dtype=torch.bool)
    assert 0 < int(inside.sum()) and (theta.grad[inside] > 0).all() and (theta.grad[~inside] == 0).all()


@pytest.mark.parametrize("name", ["sigmoid", SAMPLED])
def test_gradients_reach_every_theta_through_the_penalty(name):
    theta = some_theta().requires_grad_(True)
    made(name).pruned(theta, soft(name, theta)).backward()
    assert (theta.grad < 0).all()


@each
def test_a_seed_makes_the_gates(name):
    one, same, other = (soft(name, some_theta(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert torch.equal(one, other) == (name != SAMPLED)


@each
@pytest.mark.parametrize("share", [0.1, 0.333, 0.9])
def test_the_cut_by_share_prunes_the_smallest_theta(name, share):
    theta = some_theta(7, 11)
    keep = hard_mask(theta, settings_of(name, cut="share", s_max=share), tau=0.3)
    assert int((~keep).sum()) == round(share * 77)
    assert float(theta[~keep].max()) < float(theta[keep].min())


def test_equal_values_do_not_change_the_budget():
    keep = keep_largest(torch.zeros(4, 5), 0.25)
    assert keep.flatten().tolist() == 5 * [False] + 15 * [True]


@each
def test_the_cut_by_gamma_keeps_from_gamma_on(name):
    settings = settings_of(name, cut="gamma", gamma=0.7)
    theta = some_theta()
    keep = hard_mask(theta, settings, tau=0.5)
    assert torch.equal(keep, parametrisations.of(settings).strength(theta, 0.5) >= 0.7)
    assert float(theta[~keep].max()) < float(theta[keep].min())
    assert 0 < pruned_share(keep) < 1


@pytest.mark.parametrize("tau", [1.0, 0.3])
def test_sigmoids_threshold_is_the_logit_of_gamma(tau):
    at = tau * math.log(0.7 / 0.3)
    theta = torch.tensor([[at - 1e-3, at + 1e-3]])
    assert hard_mask(theta, settings_of("sigmoid", gamma=0.7), tau).tolist() == [[False, True]]


@pytest.mark.parametrize("name", ["gamma", "s_max"])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_gamma_and_the_budget_lie_between_0_and_1(name, value):
    with pytest.raises(OnemaskError, match=f"{name} between 0 and 1"):
        replace(SETTINGS, **{name: value})
