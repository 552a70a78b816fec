"""EasyEdit's files of hyperparameters: its names, what they are here, and what cannot be done as they say.

Known from EasyEdit's hparams/ and its `HyperParams` classes. docs/editors.md shows the tables below.
"""

import difflib
import logging
import re
from pathlib import Path
from typing import Any

from onemask.config.load import SHIPPED, editing_keys, read_yaml
from onemask.editors.registry import EDITORS
from onemask.io.errors import OnemaskError, shown

ALGORITHMS = {"ft": "ft-l"}  # EasyEdit's alg_name in lower case, where it is not the method's name here
# names that only EasyEdit has, by which its files are known, and ours
RENAMED = {
    "v_num_grad_steps": "steps",
    "num_steps": "steps",
    "v_lr": "lr",
    "v_weight_decay": "weight_decay",
    "context_template_length_params": "templates",
    "nullspace_threshold": "null_space_threshold",
    "L2": "l2",
}
SAME = ("lr", "kl_factor", "clamp_norm_factor", "mom2_adjustment", "mom2_update_weight", "emmet_lambda", "norm_constraint")
# what is done in one way here: the value that a key must have, where it is there
FIXED: dict[str, Any] = {
    "fact_token": "subject_last",
    "layer_selection": "all",
    "update_norm_lambda": 0,
    "use_chat_template": False,
}
FIXED_OF = {"ft-l": {"weight_decay": 0, "kl_factor": 0}}  # the same for one method
# keys that change nothing here: the command line, the model's family or the code says what they say
PASSED_OVER = (
    *("model_name", "tokenizer_name", "stats_dir", "device", "model_parallel", "fp16", "batch_size", "max_length", "P_loc"),
    *("mom2_dataset", "mom2_n_samples", "mom2_dtype", "layer_module_tmp", "mlp_module_tmp", "attn_module_tmp", "ln_f_module"),
    *("lm_head_module", "objective_optimization", "results_dir"),
)
EDITED_MATRIX = re.compile(r"\.mlp\.(c_proj|down_proj)(\.weight)?")  # W of the families that are known


def is_easyedits(content: dict) -> bool:
    """Whether a file of hyperparameters is EasyEdit's."""
    return "alg_name" in content or not RENAMED.keys().isdisjoint(content)


def translated(content: dict, method: str, where: str) -> dict[str, Any]:
    """Our settings of a method from EasyEdit's, those keys passed over, and named in a warning, that mean nothing here.

    `require_last_layer` checks v_loss_layer, for which the model must be known.

    Raises OnemaskError when the file is another method's, a key is unknown, or its value asks for what is done otherwise here.
    """
    _require_method(content.get("alg_name", method), method, where)
    fixed, keys = FIXED | FIXED_OF.get(method, {}), editing_keys(SHIPPED)
    ours, of_others = keys[method], set().union(*keys.values())
    settings: dict[str, Any] = {}
    passed_over = []
    for key, value in content.items():
        name = _ours(str(key), method)
        if key in ("alg_name", "v_loss_layer"):
            continue
        if key in fixed or key == "rewrite_module_tmp":
            _require_done_so(str(key), value, fixed, where)
        elif name in settings:
            raise OnemaskError(f"{name} once in {where}", f"{key} and another name for it", "Leave one out.")
        elif name in ours:
            settings[name] = _value(str(key), value, method, where)
        elif key in PASSED_OVER or name in of_others:
            passed_over.append(str(key))
        else:
            raise _unknown(str(key), ours, where)
    if passed_over:
        logging.warning("%s: EasyEdit's %s mean nothing to %s here and are passed over", where, ", ".join(passed_over), method)
    return settings


def require_last_layer(hparams: str | None, n_layers: int) -> None:
    """Raise OnemaskError where EasyEdit's v_loss_layer is not the model's last layer, at which losses are computed here."""
    content = read_yaml(Path(hparams)) if hparams else None
    found = content.get("v_loss_layer", n_layers - 1) if isinstance(content, dict) else n_layers - 1
    if found != n_layers - 1:
        expected = f"v_loss_layer: {n_layers - 1} in {hparams}, the model's last layer, at which losses are computed here"
        raise OnemaskError(expected, shown(found), "Correct it, or leave it out.")


def _ours(key: str, method: str) -> str:
    if key == "layers" and not EDITORS[method].several_layers:
        return "layer"
    return RENAMED.get(key, key)


def _require_method(algorithm: object, method: str, where: str) -> None:
    name = str(algorithm).lower()
    name = ALGORITHMS.get(name, name)
    if name not in EDITORS:
        raise OnemaskError(f"alg_name in {where} out of {', '.join(EDITORS)}", shown(algorithm), "Take another file.")
    if name != method:
        raise OnemaskError(f"hyperparameters of {method}", f"alg_name: {algorithm} in {where}", f"Give --method {name}.")


def _require_done_so(key: str, value: object, fixed: dict, where: str) -> None:
    if key in fixed and value != fixed[key]:
        advice = "Nothing else can be done here; change it, or edit with EasyEdit."
        raise OnemaskError(f"{key}: {fixed[key]} in {where}", shown(value), advice)
    if key == "rewrite_module_tmp" and not EDITED_MATRIX.search(str(value)):
        found, advice = f"{key}: {value}", "The second matrix of a layer's MLP is edited here, no other."
        raise OnemaskError(f"the second matrix of an MLP (c_proj, down_proj) in {where}", found, advice)


def _value(key: str, value: Any, method: str, where: str) -> Any:
    """A value as our key holds it; what is of another shape is left to the schema."""
    if key == "layers" and not EDITORS[method].several_layers:
        layers = value if isinstance(value, list) else [value]
        if len(layers) != 1:
            raise OnemaskError(f"one layer for {method} in {where}", f"layers: {value}", "Leave one.")
        return layers[0]
    if key == "num_steps":  # FT's number of updates; ours is of losses
        return value + 1 if isinstance(value, int) and not isinstance(value, bool) else value
    if key == "context_template_length_params" and isinstance(value, list):
        pairs = [dict(zip(("length", "count"), pair, strict=False)) if isinstance(pair, list) else pair for pair in value]
        return [pair for pair in pairs if not isinstance(pair, dict) or pair.get("count") != 0]
    return value


def _unknown(key: str, ours: set[str], where: str) -> OnemaskError:
    near = difflib.get_close_matches(key, [*RENAMED, *FIXED, *PASSED_OVER, *ours, "layers", "v_loss_layer"], 1)
    advice = f"Did you mean {near[0]!r}?" if near else "docs/editors.md lists the keys that are known."
    return OnemaskError(f"keys of EasyEdit's hyperparameters in {where}", key, advice)


def markdown() -> str:
    """EasyEdit's names and ours as a table of Markdown, for the docs."""
    notes = {"num_steps": ", one more: losses, not updates", "context_template_length_params": ", as `length` and `count`"}
    rows = [("`alg_name`", "`--method`, which must agree"), ("`layers`", "`layers`, or `layer` of editors of one")]
    rows += [(f"`{key}`", f"`{ours}`{notes.get(key, '')}") for key, ours in RENAMED.items()]
    rows += [(", ".join(f"`{key}`" for key in SAME), "the same")]
    rows += [(f"`{key}`", f"only `{str(value).lower()}`") for key, value in FIXED.items()]
    rows += [(f"`{key}` of `{method}`", f"only `{value}`") for method, keys in FIXED_OF.items() for key, value in keys.items()]
    rows += [("`v_loss_layer`", "only the model's last layer"), ("`rewrite_module_tmp`", "only the second matrix of an MLP")]
    rows += [(", ".join(f"`{key}`" for key in PASSED_OVER), "nothing: passed over, and named")]
    return "\n".join(["| EasyEdit | here |", "|---|---|", *(f"| {theirs} | {ours} |" for theirs, ours in rows)]) + "\n"
