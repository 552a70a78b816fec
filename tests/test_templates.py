"""Context templates: sampled with a seed, each length by itself, so that methods may share them."""

import pytest
import torch

from onemask.config.run import largest_template_counts
from onemask.editors.templates import choose, make_templates
from onemask.io.errors import OnemaskError

FEW, MANY = [{"length": 5, "count": 2}], [{"length": 5, "count": 4}, {"length": 8, "count": 3}]


def test_fewer_templates_are_the_first_of_more(tiny):
    many = make_templates(tiny, MANY, 0)
    assert many["text"].iloc[0] == "{}" and len(many) == 8 and (many["text"].str.count(r"\{\}") == 1).all()
    assert choose(many, FEW) == choose(make_templates(tiny, FEW, 0), FEW) == ["{}", *many["text"][1:3]]
    assert choose(many, []) == ["{}"]


def test_templates_follow_their_seed(tiny):
    first, again, other = (make_templates(tiny, MANY, seed)["text"].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_one_set_serves_all_methods():
    assert largest_template_counts([FEW, MANY, []]) == [{"length": 5, "count": 4}, {"length": 8, "count": 3}]


def test_too_few_templates_are_refused(tiny):
    with pytest.raises(OnemaskError, match="3 templates of length 8; found 0"):
        choose(make_templates(tiny, FEW, 0), MANY[1:])


def test_sampling_leaves_no_gradient(tiny):
    make_templates(tiny, FEW, 0)
    assert torch.is_grad_enabled() and all(parameter.grad is None for parameter in tiny.network.parameters())
