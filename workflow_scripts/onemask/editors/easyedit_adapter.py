"""EasyEdit's own ROME and MEMIT, run as they are on our models: for whoever doubts ours.

Nothing of EasyEdit is copied or edited; it is imported from the wheel `easyeditor==0.0.1.dev0` or from a git checkout. It was
written for transformers 4 on a GPU, with templates and statistics of its own making. What it needs to run elsewhere is put
around it here, each in a context manager that undoes it: where it is imported from (`_imported`), its "cuda" devices
(`_Devices`), its tokenizer's settings (`_tokenizer`), the tuples it expects of blocks (`_tuples`), the model's weights and
flags (`_kept`), its templates and second moments (`_replaced`).

It is slow (it runs every text whole in every step), changes sys.modules and sys.stdout while it runs, and so is not for use
from several threads.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import io
import sys
from collections.abc import Generator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from onemask.io.errors import OnemaskError
from onemask.model.edits import weights_restored
from onemask.model.forward import at_least_float32
from onemask.model.models import Model

WHEEL = "easyeditor==0.0.1.dev0"
THRESHOLD = 0.05  # the loss below which EasyEdit stops, a number in its code


@dataclasses.dataclass(frozen=True)
class Factors:
    """float32 (float64 of a float64 model) on the CPU, of one layer: dW = sum_i outer(r_i, u_i)."""

    layer: int
    u: Float[Tensor, "facts d_mlp"]
    r: Float[Tensor, "facts d_model"]


def rome_factors(
    model: Model,
    fact: dict,
    templates: list[str],
    settings,
    moment: Float[Tensor, "d_mlp d_mlp"] | None = None,
    location: str | None = None,
) -> tuple[Factors, list[float]]:
    """One fact's edit by EasyEdit's `execute_rome`: its factors (of one fact) and its losses, to three decimals.

    fact: prompt (with "{}"), subject, target_new. templates: the first must be "{}". settings: layer, steps, lr, weight_decay,
    kl_factor, clamp_norm_factor, loss_threshold, mom2_adjustment. moment: C of the layer, needed for mom2_adjustment. location:
    a checkout's folder; None for the installed wheel.

    Raises OnemaskError when EasyEdit or one of its imports is missing, or it cannot be run with such arguments.
    """
    _check(settings, templates)
    if settings.mom2_adjustment and moment is None:
        raise OnemaskError("a second moment for mom2_adjustment", "none", "Give `moment`, or switch mom2_adjustment off.")
    known = _known(model, settings, [settings.layer]) | {"mom2_adjustment": settings.mom2_adjustment}

    def inverse(*_, **__) -> Tensor:
        assert moment is not None, "asked for under mom2_adjustment only"
        # in float64, then as EasyEdit casts it: to the precision of the key it is multiplied with
        return moment.double().inverse().to(model.device, model.weight(settings.layer).dtype)

    with _adapted(model, [settings.layer], location) as easyedit:
        hparams = _hyperparameters(easyedit.rome.ROMEHyperParams, known)
        with (
            _replaced(easyedit.rome, CONTEXT_TEMPLATES_CACHE=list(templates)),
            _replaced(easyedit.compute_u, get_inv_cov=inverse),
            contextlib.redirect_stdout(io.StringIO()) as printed,
        ):
            deltas = easyedit.rome.execute_rome(model.network, model.tokenizer, _request(fact), hparams)
    ((u, r),) = deltas.values()
    return Factors(settings.layer, _rows(model, u[:, None]), _rows(model, r[:, None])), _trace(printed.getvalue())


def memit_factors(
    model: Model,
    facts: list[dict],
    templates: list[str],
    settings,
    moments: dict[int, Float[Tensor, "d_mlp d_mlp"]],
    location: str | None = None,
) -> tuple[list[Factors], list[list[float]]]:
    """All facts' joint edit by EasyEdit's `execute_memit`: factors of each layer of settings.layers, losses of each fact.

    u are its `adj_k`, r its residuals divided by the number of layers left. facts, templates, location: as for
    `rome_factors`. settings: layers, steps, lr, weight_decay, kl_factor, clamp_norm_factor, loss_threshold,
    mom2_update_weight. moments: C of each layer.

    Raises OnemaskError when EasyEdit or one of its imports is missing, or it cannot be run with such arguments.
    """
    _check(settings, templates)
    layers = list(settings.layers)
    if missing := [layer for layer in layers if layer not in moments]:
        raise OnemaskError(f"a second moment of each of the layers {layers}", f"none of {missing}", "Give `moments` of all.")
    known = _known(model, settings, layers)
    known |= {"mom2_adjustment": True, "mom2_update_weight": settings.mom2_update_weight}
    by_name = {known["rewrite_module_tmp"].format(layer): moments[layer] for layer in layers}
    # no second type when there is but one template: the mean of no keys would be NaN
    types = [list(templates[:1]), list(templates[1:])] if len(templates) > 1 else [list(templates)]
    traces = []

    with _adapted(model, layers, location) as easyedit:
        compute_z = easyedit.memit.compute_z

        def traced(*args, **kwargs):
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                z = compute_z(*args, **kwargs)
            traces.append(_trace(printed.getvalue()))
            return z

        def moment(network, tokenizer, name: str, *_, **__) -> Tensor:
            return by_name[name].to(model.device)

        hparams = _hyperparameters(easyedit.memit.MEMITHyperParams, known)
        with (
            _replaced(easyedit.memit, CONTEXT_TEMPLATES_CACHE=types, compute_z=traced, get_cov=moment),
            _tuples(model),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            requests = [_request(fact) for fact in facts]
            deltas = easyedit.memit.execute_memit(model.network, model.tokenizer, requests, hparams)
    parts = [Factors(layer, _rows(model, u), _rows(model, r)) for layer, (u, r) in zip(layers, deltas.values(), strict=True)]
    return parts, traces


def _rows(model: Model, columns: Float[Tensor, "d facts"]) -> Float[Tensor, "facts d"]:
    """Columns of any precision and device as rows on the CPU."""
    return columns.detach().T.to("cpu", at_least_float32(model.unembed.weight[:0]).dtype).contiguous()


def _check(settings, templates: list[str]) -> None:
    """OnemaskError for what EasyEdit cannot be told."""
    if settings.loss_threshold != THRESHOLD:
        raise OnemaskError(f"loss_threshold {THRESHOLD}, EasyEdit's own", str(settings.loss_threshold), "Set it so.")
    if not templates or templates[0] != "{}":
        raise OnemaskError('"{}" as the first template', repr(templates[:1]), "Make the templates again.")


def _request(fact: dict) -> dict:
    """A fact as EasyEdit takes it: it puts the space before the object itself (ROME always, MEMIT where there is none)."""
    if fact["prompt"].count("{}") != 1:
        raise OnemaskError('a prompt with "{}" exactly once', repr(fact["prompt"]), "Correct the fact.")
    return {
        "case_id": fact.get("case_id"),
        "prompt": fact["prompt"],
        "subject": fact["subject"],
        "target_new": fact["target_new"].strip(),
    }


def _trace(printed: str) -> list[float]:
    """The losses in what EasyEdit printed about one optimisation; OnemaskError when it printed none."""
    losses = [float(line.split()[1]) for line in printed.splitlines() if line.startswith("loss ")]
    if not losses:
        raise OnemaskError('lines that begin with "loss " from EasyEdit', "none", f"Use the version that is known: {WHEEL}.")
    return losses


def _known(model: Model, settings, layers: list[int]) -> dict[str, Any]:
    """EasyEdit's hyperparameters by their names there, of both methods and of all its versions known to us."""
    family = model.family
    # It looks parameters up in named_parameters(), which lists a head tied to the embedding under the embedding's name only.
    head = next(name for name, parameter in model.network.named_parameters() if parameter is model.unembed.weight)
    return {
        "layers": layers,
        "fact_token": "subject_last",
        "v_num_grad_steps": settings.steps,
        "v_lr": settings.lr,
        "v_loss_layer": model.n_layers - 1,
        "v_weight_decay": settings.weight_decay,
        "clamp_norm_factor": settings.clamp_norm_factor,
        "kl_factor": settings.kl_factor,
        "rewrite_module_tmp": f"{family.blocks}.{{}}.{family.matrix}",
        "layer_module_tmp": f"{family.blocks}.{{}}",
        "mlp_module_tmp": f"{family.blocks}.{{}}.{family.matrix.rpartition('.')[0]}",
        "ln_f_module": family.final_norm,
        "lm_head_module": head.removesuffix(".weight"),
        "device": model.device.index or 0,
        # Newer checkouts run R-ROME unless told otherwise; these make them run the ROME of the wheel.
        "original_implementation": True,
        "enable_random_prefix_keys": False,
        "enable_prompt_keys": False,
    }


def _hyperparameters(kind, known: dict):
    """An instance of EasyEdit's dataclass `kind`: what is known by name, None for other fields without a default."""
    fields = dataclasses.fields(kind)
    arguments = {field.name: known[field.name] for field in fields if field.name in known}
    missing = dataclasses.MISSING
    needed = [field.name for field in fields if field.default is missing and field.default_factory is missing]
    return kind(**dict.fromkeys(needed) | arguments)


@contextlib.contextmanager
def _adapted(model: Model, layers: list[int], location: str | None) -> Generator[SimpleNamespace, None, None]:
    """Within the block EasyEdit is imported and finds the model, its tokenizer and its device as it needs them."""
    with contextlib.ExitStack() as stack:
        easyedit = stack.enter_context(_imported(location))
        stack.enter_context(_kept(model, layers))
        stack.enter_context(_tokenizer(model.tokenizer))
        if model.device.type != "cuda":  # there, "cuda:{index}" is the model's device already
            stack.enter_context(_Devices(model.device))
        stack.enter_context(torch.enable_grad())
        yield easyedit


_LOADED: dict[Path, dict[str, ModuleType]] = {}  # EasyEdit's modules by the folder they come from


def _package_folder(location: str | None) -> Path:
    """The folder of the package `easyeditor`, found without running it; OnemaskError when there is none."""
    if location is None:
        spec = importlib.util.find_spec("easyeditor")
        folders = [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or []]
        expected, where = "EasyEdit", "this environment"
    else:
        folders = [Path(location) / "easyeditor"]
        expected, where = "a checkout of EasyEdit", str(location)
    for folder in folders:
        if (folder / "models" / "rome").is_dir() and (folder / "models" / "memit").is_dir():
            return folder.resolve()
    advice = f"`pip install --no-deps {WHEEL}`, or give the path of a checkout."
    raise OnemaskError(expected, f"no easyeditor/models/{{rome,memit}} in {where}", advice)


def _light_package(name: str, folder: Path) -> ModuleType:
    """An empty package whose submodules are found in `folder`."""
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return importlib.util.module_from_spec(spec)


@contextlib.contextmanager
def _imported(location: str | None) -> Generator[SimpleNamespace, None, None]:
    """EasyEdit's modules `rome` and `memit` (each method's main one) and `compute_u`.

    The package's own __init__ imports every method, with dozens of dependencies; empty packages stand in for it and for
    `easyeditor.models`. Whatever was imported under these names before is put back afterwards.

    Raises OnemaskError when EasyEdit or a module it imports is missing, or another EasyEdit than that asked for is found.
    """
    folder = _package_folder(location)
    outside = _take_modules()
    light = {"easyeditor": folder, "easyeditor.models": folder / "models"}
    sys.modules.update(_LOADED.get(folder) or {name: _light_package(name, path) for name, path in light.items()})
    try:
        names = {"rome": "rome.rome_main", "compute_u": "rome.compute_u", "memit": "memit.memit_main"}
        try:
            modules = {key: importlib.import_module(f"easyeditor.models.{name}") for key, name in names.items()}
        except ImportError as error:
            advice = f"Install what EasyEdit imports (`pip install {(error.name or 'it').partition('.')[0]}`)."
            raise OnemaskError(f"EasyEdit in {folder} to be importable", str(error), advice) from error
        for module in modules.values():
            if not module.__file__ or not Path(module.__file__).resolve().is_relative_to(folder):
                raise OnemaskError(f"EasyEdit's modules from {folder}", str(module.__file__), "Uninstall the other one.")
        yield SimpleNamespace(**modules)
    finally:
        _LOADED[folder] = _take_modules()
        sys.modules.update(outside)


def _take_modules() -> dict[str, ModuleType]:
    """Remove EasyEdit's modules from sys.modules; returns them."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "easyeditor"}


@contextlib.contextmanager
def _replaced(owner, **attributes) -> Generator[None, None, None]:
    """Within the block, attributes of a module or an object have other values; OnemaskError when it lacks one."""
    if missing := [name for name in attributes if not hasattr(owner, name)]:
        advice = f"Use the version that is known: {WHEEL}."
        raise OnemaskError(f"{', '.join(attributes)} in EasyEdit's {owner.__name__}", f"no {missing[0]}", advice)
    before = {name: getattr(owner, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


@contextlib.contextmanager
def _tokenizer(tokenizer) -> Generator[None, None, None]:
    """Padding on the right with any token: EasyEdit pads all it runs, and its indices count from the left.

    And no token types: it passes on all the tokenizer returns, and GPT-2 would add an embedding for them.
    """
    padding = tokenizer.pad_token or tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    inputs = ["input_ids", "attention_mask"]
    with _replaced(tokenizer, padding_side="right", pad_token=padding, model_input_names=inputs):
        yield


@contextlib.contextmanager
def _kept(model: Model, layers: list[int]) -> Generator[None, None, None]:
    """Weights of the edited layers and requires_grad of all parameters are afterwards as before, even after an error."""
    flags = [(parameter, parameter.requires_grad) for parameter in model.network.parameters()]
    try:
        with weights_restored(model, layers):
            yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


class _Devices(TorchFunctionMode):
    """Within the block, a device argument that begins with "cuda" (EasyEdit writes them into its code) means `device`."""

    def __init__(self, device: torch.device):
        super().__init__()
        self.device = device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.device:  # its parts mean nothing one by one: torch.device("cuda", 0)
            return self._real(func(*args, **(kwargs or {})))
        args = [self._real(value) for value in args]
        return func(*args, **{name: self._real(value) for name, value in (kwargs or {}).items()})

    def _real(self, value):
        return self.device if isinstance(value, str | torch.device) and str(value).startswith("cuda") else value


@contextlib.contextmanager
def _tuples(model: Model) -> Generator[None, None, None]:
    """Within the block, forward hooks put on a transformer block see its output as the tuple it was in transformers 4.

    MEMIT's hooks index that tuple; what they return is unpacked again, since the model now expects a tensor.
    """

    def adapted(register):
        def register_adapted(hook, **options):
            def on_tuple(module, args, output):
                if isinstance(output, tuple):
                    return hook(module, args, output)
                changed = hook(module, args, (output,))
                return changed[0] if isinstance(changed, tuple) else changed

            return register(on_tuple, **options)

        return register_adapted

    try:
        for block in model.blocks:
            block.register_forward_hook = adapted(block.register_forward_hook)  # hides the class's method
        yield
    finally:
        for block in model.blocks:
            vars(block).pop("register_forward_hook", None)
