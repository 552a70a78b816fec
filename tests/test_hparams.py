"""EasyEdit's files of hyperparameters: its names are ours, and what it asks for otherwise than we do is refused by name."""

import json
from pathlib import Path

import pytest
import yaml

from onemask.commands.edit import method_settings
from onemask.config import easyedit
from onemask.config.easyedit import require_last_layer
from onemask.config.load import SHIPPED, editing_keys
from onemask.editors.registry import EDITORS
from onemask.io.errors import OnemaskError

ROOT = Path(__file__).resolve().parent.parent
# what files of several methods hold beside their numbers
AROUND = {
    "model_name": "./models/gpt2", "stats_dir": "./stats", "device": 0, "fact_token": "subject_last", "v_loss_layer": 3,
    "rewrite_module_tmp": "transformer.h.{}.mlp.c_proj", "layer_module_tmp": "transformer.h.{}", "mom2_dataset": "wikipedia",
    "mlp_module_tmp": "transformer.h.{}.mlp", "attn_module_tmp": "transformer.h.{}.attn", "ln_f_module": "transformer.ln_f",
    "lm_head_module": "transformer.wte", "mom2_n_samples": 100000, "mom2_dtype": "float32", "model_parallel": False,
}  # fmt: skip
DELTA = {"v_num_grad_steps": 20, "v_lr": 0.3, "v_weight_decay": 0.5, "clamp_norm_factor": 3, "kl_factor": 0.1}
OURS = {"steps": 20, "lr": 0.3, "weight_decay": 0.5, "clamp_norm_factor": 3, "kl_factor": 0.1}
ROME = DELTA | {"layers": [2], "mom2_adjustment": True, "context_template_length_params": [[5, 7], [10, 8]]}
SPREAD = DELTA | {"layers": [1, 2], "layer_selection": "all", "mom2_adjustment": True}
TEMPLATES = [{"length": 5, "count": 7}, {"length": 10, "count": 8}]
OF_ROME = OURS | {"layer": 2, "mom2_adjustment": True, "templates": TEMPLATES}
OF_SPREAD = OURS | {"layers": [1, 2]}
# method: EasyEdit's content, and what it sets here
FILES = {
    "rome": ({"alg_name": "ROME"} | ROME, OF_ROME),
    "r-rome": ({"alg_name": "R-ROME"} | ROME, OF_ROME),
    "memit": ({"alg_name": "MEMIT"} | SPREAD | {"mom2_update_weight": 77}, OF_SPREAD | {"mom2_update_weight": 77}),
    "emmet": (
        {"alg_name": "EMMET"} | SPREAD | {"mom2_update_weight": 1, "update_norm_lambda": 0, "emmet_lambda": 0.2},
        OF_SPREAD | {"mom2_update_weight": 1, "emmet_lambda": 0.2},
    ),
    "alphaedit": (
        {"alg_name": "AlphaEdit"} | SPREAD | {"mom2_update_weight": 1, "nullspace_threshold": 0.03, "L2": 9, "P_loc": "p.pt"},
        OF_SPREAD | {"null_space_threshold": 0.03, "l2": 9},
    ),
    "ft-l": (
        {"alg_name": "FT", "layers": [2], "num_steps": 12, "batch_size": 1, "max_length": 40, "lr": 0.01, "weight_decay": 0,
         "kl_factor": 0, "norm_constraint": 0.02, "objective_optimization": "prompt_last"},
        {"layer": 2, "steps": 13, "lr": 0.01, "norm_constraint": 0.02},
    ),
}  # fmt: skip


def file_of(folder: Path, content: dict) -> str:
    (folder / "hparams.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return str(folder / "hparams.yaml")


@pytest.mark.parametrize("method", EDITORS)
def test_every_editor_takes_easyedits_file(tmp_path, method, caplog):
    content, ours = FILES[method]
    hparams = file_of(tmp_path, AROUND | content)
    settings = method_settings(method, hparams, None)
    defaults = method_settings(method, None, ours.get("layers") or [ours["layer"]])
    assert settings == defaults | ours and set(settings) == editing_keys(SHIPPED)[method]
    (line,) = caplog.messages
    assert "hparams.yaml: EasyEdit's model_name, stats_dir, device, " in line and "fact_token" not in line


def test_what_easyedits_file_leaves_out_is_the_default_and_the_command_line_comes_last(tmp_path):
    settings = method_settings("rome", file_of(tmp_path, {"alg_name": "ROME", "layers": [1], "v_lr": 0.25}), [3])
    assert (settings["layer"], settings["lr"], settings["steps"], settings["kl_factor"]) == (3, 0.25, 25, 0.0625)


def test_memits_own_files_have_no_alg_name(tmp_path):
    (tmp_path / "gpt2.json").write_text(json.dumps(AROUND | ROME), encoding="utf-8")
    assert method_settings("rome", str(tmp_path / "gpt2.json"), None)["steps"] == 20


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("rome", {"fact_token": "last"}, "fact_token: subject_last in .*hparams.yaml; found 'last'"),
        ("memit", {"layer_selection": "random"}, "layer_selection: all in .*; found 'random'"),
        ("emmet", {"update_norm_lambda": 0.5}, "update_norm_lambda: 0 in .*; found 0.5"),
        ("rome", {"use_chat_template": True}, "use_chat_template: False in .*; found True"),
        ("rome", {"rewrite_module_tmp": "transformer.h.{}.attn.c_proj"}, "the second matrix of an MLP .*found rewrite"),
        ("ft-l", {"weight_decay": 0.1}, "weight_decay: 0 in .*; found 0.1"),
        ("ft-l", {"norm_constraint": False}, "at ft-l.norm_constraint: False is not of type 'number'"),
        ("ft-l", {"layers": [1, 2]}, r"one layer for ft-l in .*; found layers: \[1, 2\]"),
        ("rome", {"alg_name": "MEMIT"}, "hyperparameters of rome; found alg_name: MEMIT in .*Give --method memit"),
        ("rome", {"alg_name": "MEND"}, "alg_name in .* out of rome, .*; found 'MEND'"),
        ("rome", {"v_num_grad_step": 3}, "EasyEdit's .*; found v_num_grad_step. Did you mean 'v_num_grad_steps'"),
        ("rome", {"qqq": 3}, "keys of EasyEdit's hyperparameters in .*; found qqq. docs/editors.md"),
        ("rome", {"lr": 0.1}, "lr once in .*; found v_lr and another name for it|found lr and"),
        ("rome", {"v_num_grad_steps": "many"}, "at rome.steps: 'many' is not of type 'integer'"),
        ("rome", {"context_template_length_params": [5, 10]}, "at rome.templates"),
        ("rome", {"context_template_length_params": [[5]]}, "at rome.templates.0: 'count' is a required property"),
        ("memit", {"layers": [2, 1]}, "memit's layers ascending"),
    ],
)  # fmt: skip
def test_what_is_done_otherwise_here_is_refused_by_its_name(tmp_path, method, changes, message):
    with pytest.raises(OnemaskError, match=message):
        method_settings(method, file_of(tmp_path, FILES[method][0] | changes), None)


def test_losses_are_computed_at_the_last_layer_alone(tmp_path):
    hparams = file_of(tmp_path, {"alg_name": "ROME", "v_loss_layer": 47})
    require_last_layer(hparams, 48)
    with pytest.raises(OnemaskError, match="v_loss_layer: 23 in .*hparams.yaml, the model's last layer, .*; found 47"):
        require_last_layer(hparams, 24)
    require_last_layer(None, 24)
    require_last_layer(file_of(tmp_path, {"lr": 1}), 24)


def test_our_own_keys_are_not_taken_for_easyedits(tmp_path):
    assert method_settings("rome", file_of(tmp_path, {"lr": 0.1, "layer": 1}), None)["lr"] == 0.1
    with pytest.raises(OnemaskError, match="'device' was unexpected"):
        method_settings("rome", file_of(tmp_path, {"lr": 0.1, "layer": 1, "device": 0}), None)


def test_the_docs_show_every_key_that_is_known():
    page = (ROOT / "docs" / "editors.md").read_text(encoding="utf-8")
    assert easyedit.markdown() in page
    known = {"alg_name", "layers", "v_loss_layer", *easyedit.RENAMED, *easyedit.SAME, *easyedit.FIXED, *easyedit.PASSED_OVER}
    assert all(f"`{key}`" in page for key in known)
    assert {key for content, _ in FILES.values() for key in content} | set(AROUND) <= known | {
        "weight_decay",
        "rewrite_module_tmp",
    }
