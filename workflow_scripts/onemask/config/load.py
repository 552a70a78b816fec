"""A run's configuration: checked against its schema, defaults filled in, models' settings merged."""

import difflib
import functools
import math
import os
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from referencing import Registry, Resource

from onemask.io.errors import OnemaskError

# The folder whose config/ holds the defaults and schemas: the clone, or what an installed package carries of it.
_CLONE = Path(__file__).resolve().parent.parent.parent.parent
SHIPPED = _CLONE if (_CLONE / "config" / "defaults.yaml").is_file() else Path(__file__).resolve().parent.parent / "shipped"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times faster, and every rule's start waits for it


def _is_integer(_, value: object) -> bool:
    """JSON Schema calls 8.0 an integer; `range` does not, hours later."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_, value: object) -> bool:
    """YAML's .nan passes every bound, since it is on neither side of it."""
    return _is_integer(_, value) or isinstance(value, float) and math.isfinite(value)


def _filling_defaults() -> type[Validator]:
    """A validator that writes a property's `default` where the instance lacks it, before the checks of its siblings."""
    properties = Draft202012Validator.VALIDATORS["properties"]

    def fill(validator, declared, instance, schema):
        if isinstance(instance, dict):
            for key, rules in declared.items():
                if "default" in rules:
                    default = rules["default"]
                    instance.setdefault(key, dict(default) if isinstance(default, dict) else default)
        yield from properties(validator, declared, instance, schema)

    types = Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": _is_integer, "number": _is_number})
    return validators.extend(Draft202012Validator, {"properties": fill}, type_checker=types)


def read_yaml(path: Path) -> Any:
    """A YAML file's content; OnemaskError when it cannot be read."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: not UTF-8, or a date such as 2024-13-45
        raise OnemaskError(f"YAML at {path}", str(error).replace("\n", " "), "Correct the name or the file.") from error


@functools.cache
def _registry(schemas: Path) -> Registry:
    """All schemas of a folder, by the name of their file."""
    contents = {path.name: read_yaml(path) for path in schemas.glob("*.schema.yaml")}
    return Registry().with_resources((name, Resource.from_contents(schema)) for name, schema in contents.items())


def check(content: object, schema_name: str, schemas: Path, where: str) -> None:
    """Validate `content` and fill its defaults; OnemaskError names the first wrong key and what is allowed there."""
    registry = _registry(schemas)
    validator = _filling_defaults()(registry.contents(schema_name), registry=registry)
    error = best_match(validator.iter_errors(content))
    if error is None:
        return
    place = ".".join(map(str, error.absolute_path)) or "the top level"
    advice = "Correct it; each key is described in config/schemas."
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        unknown = [key for key in error.instance if key not in known]
        near = difflib.get_close_matches(str(unknown[0]), known, 1) if unknown else []
        advice = f"Did you mean {near[0]!r}? {advice}" if near else advice
    raise OnemaskError(f"{where} to follow config/schemas/{schema_name}", f"at {place}: {error.message}", advice)


def _from_here(path: str, root: Path) -> str:
    """A path of a project's config, seen from the working directory: provenance is not to hold where the project lies."""
    return path if Path(path).is_absolute() else os.path.relpath(root / path)


@functools.cache
def editing_methods(root: Path) -> dict[str, dict]:
    """Every editing method by name, as config/schemas/methods.schema.yaml describes it."""
    return read_yaml(root / "config" / "schemas" / "methods.schema.yaml")["properties"]


def moment_layers(method: dict, settings: dict) -> list[int]:
    """Layers whose second moments a method needs: its schema entry says when, under which of its settings."""
    when = method["second_moment"]
    if when != "always" and not settings.get(when):
        return []
    return settings["layers"] if "layers" in settings else [settings["layer"]]


def moments_file(layers: list[int]) -> str:
    """Name of the file that has the second moments of some layers of a model, measured in one pass."""
    return f"{'-'.join(map(str, layers))}.safetensors"


def editing_settings(method: str, parts: list[dict], root: Path, advice: str) -> dict:
    """A method's settings from several `editing` parts, of which later ones win.

    Raises OnemaskError when a key has no value, or layers are not ascending.
    """
    settings = {}
    for part in parts:
        settings |= part.get(method, {})
    missing = sorted(set(editing_methods(root)[method]["properties"]) - set(settings))
    if missing:
        raise OnemaskError(f"a value for {method}'s {', '.join(missing)}", "none", advice)
    layers = settings.get("layers", [])
    if layers != sorted(set(layers)):
        raise OnemaskError(f"{method}'s layers ascending, each once", str(layers), "Order them.")
    return settings


def largest_template_counts(wanted: list[list[dict]]) -> list[dict]:
    """For each length the largest count that any of several methods wants, as in the key `templates`."""
    counts: dict[int, int] = {}
    for kind in (kind for method in wanted for kind in method):
        counts[kind["length"]] = max(kind["count"], counts.get(kind["length"], 0))
    return [{"length": length, "count": counts[length]} for length in sorted(counts)]


def use_mirror(hub: str | None) -> None:
    """Where the key hub is a URL, take it for the hub, in this process and those that it starts."""
    if hub is not None and "://" in hub:
        os.environ["HF_ENDPOINT"] = hub


def at_site(source: dict, hub: str | None, root: Path) -> Path | None:
    """A source's repository in a site's folder of the hub's repositories; None where source or site are others."""
    if "hub" not in source or hub is None or "://" in hub:
        return None
    folder = root / hub / source["hub"]
    if not folder.is_dir():
        raise OnemaskError(f"{source['hub']} in the folder of the key hub", f"no {folder}", "Put it there, or correct hub.")
    return Path(_from_here(str(Path(hub) / source["hub"]), root))


def check_layers(name: str, settings: dict) -> None:
    """OnemaskError when a method edits a layer that the model, by the shape in its file, does not have."""
    layers = settings.get("shape", {}).get("layers", math.inf)
    for method, chosen in settings["editing"].items():
        beyond = [layer for layer in [chosen.get("layer", 0), *chosen.get("layers", [])] if layer >= layers]
        if beyond:
            raise OnemaskError(
                f"layers below {layers}, the number in the shape of config/models/{name}.yaml",
                f"{', '.join(map(str, beyond))} for {method}",
                f"Correct editing.{method}, or the shape.",
            )


def load_model_settings(name: str, run: dict, root: Path) -> dict:
    """A model's file with its `editing` and `mask` settings merged: defaults, then the model's, then the run's."""
    path = root / "config" / "models" / f"{name}.yaml"
    settings = read_yaml(path)
    check(settings, "model.schema.yaml", root / "config" / "schemas", f"config/models/{name}.yaml")
    defaults = read_yaml(root / "config" / "defaults.yaml")
    parts = [defaults["editing"], settings["editing"], run["editing"]]
    settings["editing"] = {
        method: editing_settings(method, parts, root, f"Add it under editing.{method} of config/models/{name}.yaml.")
        for method in [*run["methods"], *run["compare"]]
    }
    settings["mask"] = defaults["mask"] | settings["mask"] | run["mask"]
    check_layers(name, settings)
    if folder := at_site(settings["source"], run["hub"], root):
        settings["source"] = {"path": str(folder)}
    elif "path" in settings["source"]:
        settings["source"]["path"] = _from_here(settings["source"]["path"], root)
    return settings


def check_methods(config: dict, root: Path) -> None:
    """OnemaskError when a method is unknown, named twice, or beyond what the chosen editor can do."""
    known, named = editing_methods(root), [*config["methods"], *config["compare"]]
    for method in [*named, *config["mask_by_method"]]:
        if method not in known:
            found, to_do = repr(method), "Correct methods, compare or mask_by_method."
            raise OnemaskError(f"methods out of {', '.join(known)}", found, to_do)
        if config["editor"] == "easyeditor" and method not in ("rome", "memit"):
            raise OnemaskError("rome or memit, which EasyEdit can run here", method, "Leave it out, or set editor: onemask.")
    if len(named) != len(set(named)):
        raise OnemaskError("each method once in methods and compare", str(named), "Leave out the second.")


def check_facts(facts: dict) -> None:
    """OnemaskError when settings of the facts contradict each other, or one that others call for is missing."""
    wanted = facts["per_relation"]
    if facts["splits"] == "released":
        needed = {"released": "facts.splits is released"}
    else:
        needed = {"path": "facts.dataset is counterfact"} if facts["dataset"] == "counterfact" else {}
        missing = sorted({"train", "test"} - set(wanted))
        if missing:
            raise OnemaskError("facts.per_relation with train and test", f"no {missing}", "Add the number of facts a relation.")
    for key, reason in needed.items():
        if not facts[key]:
            raise OnemaskError(f"facts.{key}, since {reason}", "none", "Add the key.")
    both = set(facts["relations"]) & set(facts["ood_relations"])
    if both:
        found = f"{sorted(both)} in both lists"
        raise OnemaskError("OOD relations that are not trained on", found, "Correct facts.ood_relations.")
    if wanted.get("ood") and not facts["ood_relations"]:
        found = f"none for facts.per_relation.ood: {wanted['ood']}"
        raise OnemaskError("facts.ood_relations", found, "Name them, or set ood: 0.")


def corpus_sources(config: dict, root: Path) -> dict[str, dict]:
    """Where each corpus comes from, by name; OnemaskError when one does not serve its purpose or less than a window is wanted."""
    sources = {}
    for purpose, name in config["corpora"].items():
        tokens, window = config[purpose]["tokens"], config[purpose]["window"]
        if tokens < window:
            found = f"{tokens} in windows of {window}"
            raise OnemaskError(f"{purpose}.tokens for one window at least", found, f"Correct {purpose}.tokens or window.")
        content = read_yaml(root / "config" / "datasets" / f"{name}.yaml")
        check(content, "corpus.schema.yaml", root / "config" / "schemas", f"config/datasets/{name}.yaml")
        source = content["source"]
        if folder := at_site(source, config["hub"], root):
            source["hub"] = str(folder)
        if "path" in source:
            source["path"] = _from_here(source["path"], root)
        if source["part"] not in (purpose, "both"):
            found = f"part: {source['part']} in config/datasets/{name}.yaml"
            raise OnemaskError(f"a corpus for {purpose}", found, f"Take another one for corpora.{purpose}.")
        sources[name] = source
    return sources


def check_facts_of_methods(config: dict, methods: dict[str, dict]) -> None:
    """OnemaskError when a method that edits facts together has none to edit."""
    trained = {*config["methods"], *config["studies"]["transfer"]}
    for method in [*config["methods"], *config["compare"]]:
        needed = ["memit_train", "memit_test"][method not in trained :] if methods[method]["together"] else []
        missing = [split for split in needed if not config["facts"]["per_relation"].get(split)]
        if missing and config["facts"]["splits"] == "sampled":
            found = f"no {', '.join(missing)}"
            raise OnemaskError(f"facts.per_relation for {method}, which edits facts together", found, "Add the number of facts.")


def check_studies(config: dict, models: dict[str, dict], methods: dict[str, dict]) -> None:
    """OnemaskError when a study asks for what its methods or layers do not allow."""
    studies, first = config["studies"], config["methods"][0]
    named = {*config["methods"], *config["compare"]}
    if set(studies["transfer"]) - named:
        found = f"{sorted(set(studies['transfer']) - named)}"
        raise OnemaskError("studies.transfer out of methods and compare", found, "Add them to compare.")
    if studies["transfer"] and studies["transfer"][0] not in config["methods"]:
        raise OnemaskError("a method of methods first in studies.transfer", studies["transfer"][0], "Begin with one of methods.")
    if len(studies["layers"]) == 1:
        raise OnemaskError("two layers or more in studies.layers", f"{studies['layers']}", "Add one, or leave the study out.")
    if studies["layers"] and (methods[first]["together"] or "layer" not in methods[first]["properties"]):
        raise OnemaskError(
            "a first method that edits one layer, for studies.layers", first, "Put rome first, or leave layers out."
        )
    if methods[first]["together"] and (studies["pruning_shares"] or studies["blocking_shares"]):
        wanted = "a first method that edits each fact alone, for studies.pruning_shares and blocking_shares"
        raise OnemaskError(wanted, first, "Put rome first, or leave them out.")
    if bool(studies["shares"]) != bool(studies["parametrisations"]) or studies["pruning_shares"] and not studies["shares"]:
        found = "shares, parametrisations or pruning_shares without the others"
        raise OnemaskError("studies.parametrisations and studies.shares together", found, "Add what is missing.")
    trained = config["facts"]["per_relation"].get("train", 0) * len(config["facts"]["relations"])
    if config["facts"]["splits"] == "sampled" and max(studies["training_edits"], default=0) > trained:
        found = f"{max(studies['training_edits'])}"
        raise OnemaskError(f"studies.training_edits of at most {trained}, the training facts", found, "Ask for fewer.")
    if studies["folds"] and not 2 <= studies["folds"] <= len(config["facts"]["relations"]):
        found = f"studies.folds: {studies['folds']} of {len(config['facts']['relations'])} relations"
        raise OnemaskError("between two folds and one a relation", found, "Correct studies.folds.")
    for model, settings in models.items():
        layers = {method: settings["editing"][method] for method in studies["transfer"]}
        last = {method: chosen.get("layer", chosen.get("layers", [None])[-1]) for method, chosen in layers.items()}
        if len(set(last.values())) > 1:
            raise OnemaskError(f"methods of studies.transfer that edit {model} in one last layer", f"{last}", "Leave some out.")


def read_claims(root: Path) -> list[dict]:
    """The claims of config/claims.yaml; OnemaskError when one does not follow its schema or an id stands twice."""
    claims = read_yaml(root / "config" / "claims.yaml")
    check(claims, "claims.schema.yaml", root / "config" / "schemas", "config/claims.yaml")
    names = [claim["id"] for claim in claims]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OnemaskError("claims of different ids", f"{', '.join(twice)} twice", "Correct config/claims.yaml.")
    return claims


def read_captions(root: Path) -> dict[str, str]:
    """The figures' captions of config/captions.yaml by figure; OnemaskError when the file does not follow its schema."""
    captions = read_yaml(root / "config" / "captions.yaml")
    check(captions, "captions.schema.yaml", root / "config" / "schemas", "config/captions.yaml")
    return captions


def load_run(config: dict, root: Path) -> dict:
    """Check a run's config (in place) and add `model_settings`, `corpus_sources`, `method_entries`, `claims` and `captions`.

    Raises OnemaskError on an unknown key, a wrong type, a missing model or corpus file, or contradictory facts settings.
    """
    if not config:
        raise OnemaskError("a run's config", "none", "Add --configfile config/demo.yaml (or another file of config/).")
    check(config, "run.schema.yaml", root / "config" / "schemas", "the run's config")
    check_methods(config, root)
    check_facts(config["facts"])
    sources = corpus_sources(config, root)
    models = {name: load_model_settings(name, config, root) for name in config["models"]}
    check_facts_of_methods(config, editing_methods(root))
    check_studies(config, models, editing_methods(root))
    methods = editing_methods(root)
    added = {"model_settings": models, "corpus_sources": sources, "method_entries": methods}
    return {**config, **added, "claims": read_claims(root), "captions": read_captions(root)}
