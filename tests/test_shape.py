"""The shapes in config/models are the checkpoints': by their published numbers of parameters, and when one is fetched."""

import json

import pytest
import yaml

from onemask.config.load import load_run
from onemask.io.errors import OnemaskError
from onemask.model.shape import check_shape, empty_model
from run_configs import ROOT, read
from test_assets import checkpoint as checkpoint

SHAPE = {"layers": 1, "d_model": 16, "d_mlp": 64, "heads": 2, "key_heads": 2, "vocabulary": 4, "tied": True}
# thousands of parameters, as the checkpoints' own pages give them
PUBLISHED = {
    "gpt2": 124_440, "gpt2-medium": 354_823, "gpt2-xl": 1_557_611, "llama-3.2-1b": 1_235_814, "llama-3.2-3b": 3_212_750,
    "qwen2.5-0.5b": 494_033, "qwen2.5-1.5b": 1_543_714, "qwen2.5-7b": 7_615_617, "smollm2-135m": 134_515,
    "smollm2-360m": 361_821,
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_model_of_the_stated_shape_has_the_published_number_of_parameters(name):
    settings = yaml.safe_load((ROOT / "config" / "models" / f"{name}.yaml").read_text(encoding="utf-8"))
    network = empty_model(settings["family"], settings["shape"])
    assert all(parameter.is_meta for parameter in network.parameters())
    assert sum(parameter.numel() for parameter in network.parameters()) / 1000 == pytest.approx(PUBLISHED[name], abs=1)


def test_every_shipped_model_has_its_shape_and_every_hub_source_is_a_commit():
    for path in (ROOT / "config" / "models").glob("*.yaml"):
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert path.stem in PUBLISHED or path.stem == "tiny-gpt2"
        assert "shape" in settings
        assert len(settings["source"].get("revision", "f" * 40)) == 40


def test_every_shipped_model_loads_with_the_papers_run():
    names = sorted(PUBLISHED)
    assert sorted(load_run(read("paper") | {"models": names}, ROOT).models) == names


def test_a_checkpoint_of_another_shape_is_refused(checkpoint):
    check_shape(checkpoint, SHAPE, "one")
    with pytest.raises(OnemaskError, match="layers: 3, d_mlp: 48, as config/models/one.yaml states; found layers: 1, d_mlp: 64"):
        check_shape(checkpoint, SHAPE | {"layers": 3, "d_mlp": 48}, "one")


@pytest.mark.parametrize("method, chosen", [("rome", {"layer": 48}), ("memit", {"layers": [46, 47, 48]})])
def test_a_layer_that_the_model_lacks_is_refused_at_once(method, chosen):
    config = json.loads(json.dumps(read("paper")))
    config["editing"] = {method: chosen}
    config["models"] = ["gpt2-xl"]
    with pytest.raises(OnemaskError, match=f"layers below 48, .*gpt2-xl.yaml; found 48 for {method}. Correct editing.{method}"):
        load_run(config, ROOT)
