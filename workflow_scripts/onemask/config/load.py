"""The files of config/: read, checked against their schemas, defaults filled in, and merged into a `Run`."""

import difflib
import functools
import math
import os
import re
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from onemask.config.checks import check_methods, check_run
from onemask.config.run import Run
from onemask.config.settings import Model, typed
from onemask.io.errors import OnemaskError
from onemask.masking.settings import MaskSettings

# The folder whose config/ holds the defaults and schemas: the clone, or what an installed package carries of it.
_CLONE = Path(__file__).resolve().parent.parent.parent.parent
SHIPPED = _CLONE if (_CLONE / "config" / "defaults.yaml").is_file() else Path(__file__).resolve().parent.parent / "shipped"
# YAML 1.1 takes 1e-3 and 1.0e3 for texts, which YAML 1.2, JSON and users call numbers
EXPONENT = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+")


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # libyaml's is ten times faster, and every rule's start waits for it
    """Safe YAML with every number that has an exponent."""


Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"^(?:{EXPONENT.pattern})$"), list("-+.0123456789"))


def _is_integer(_, value: object) -> bool:
    """JSON Schema calls 8.0 an integer; `range` does not, hours later."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_, value: object) -> bool:
    """YAML's .nan passes every bound, since it is on neither side of it."""
    return _is_integer(_, value) or isinstance(value, float) and math.isfinite(value)


def _with_exponent(value: Any, rules: Any) -> Any:
    """The number that a text is, such as 1e-3, where a schema wants a number: Snakemake reads a run's file by YAML 1.1."""
    wanted = isinstance(rules, dict) and "number" in rules.get("type", ())
    return float(value) if wanted and isinstance(value, str) and EXPONENT.fullmatch(value) else value


def _filling_defaults() -> type[Validator]:
    """A validator that writes a property's `default` where the instance lacks it, before the checks of its siblings."""
    properties, items = (Draft202012Validator.VALIDATORS[keyword] for keyword in ("properties", "items"))

    def fill(validator, declared, instance, schema):
        if isinstance(instance, dict):
            for key, rules in declared.items():
                if "default" in rules:
                    default = rules["default"]
                    instance.setdefault(key, dict(default) if isinstance(default, dict) else default)
                if key in instance:
                    instance[key] = _with_exponent(instance[key], rules)
        yield from properties(validator, declared, instance, schema)

    def fill_items(validator, rules, instance, schema):
        if isinstance(instance, list):
            instance[:] = [_with_exponent(value, rules) for value in instance]
        yield from items(validator, rules, instance, schema)

    types = Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": _is_integer, "number": _is_number})
    return validators.extend(Draft202012Validator, {"properties": fill, "items": fill_items}, type_checker=types)


def read_yaml(path: Path) -> Any:
    """A YAML file's content; OnemaskError when it cannot be read."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: not UTF-8, or a date such as 2024-13-45
        raise OnemaskError(f"YAML at {path}", str(error).replace("\n", " "), "Correct the name or the file.") from error


@functools.cache
def _registry(schemas: Path) -> Registry:
    """All schemas of a folder, by the name of their file.

    Without `$schema`, by which jsonschema would take its own validator for a schema that another refers to.
    """
    contents = {path.name: read_yaml(path) for path in schemas.glob("*.schema.yaml")}
    for schema in contents.values():
        schema.pop("$schema", None)
    return Registry().with_resources((name, DRAFT202012.create_resource(schema)) for name, schema in contents.items())


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


def read_claims(root: Path) -> list[dict]:
    """The claims of config/claims.yaml; OnemaskError when one does not follow its schema or an id stands twice."""
    claims = read_yaml(root / "config" / "claims.yaml")
    check(claims, "claims.schema.yaml", root / "config" / "schemas", "config/claims.yaml")
    names = [claim["id"] for claim in claims]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OnemaskError("claims of different ids", f"{', '.join(twice)} twice", "Correct config/claims.yaml.")
    return claims


def editing_keys(root: Path) -> dict[str, set[str]]:
    """Keys of each editor's settings, as config/schemas/methods.schema.yaml has them."""
    entries = read_yaml(root / "config" / "schemas" / "methods.schema.yaml")["properties"]
    return {method: set(entry["properties"]) for method, entry in entries.items()}


def editing_settings(method: str, parts: list[dict], root: Path, advice: str) -> dict[str, Any]:
    """A method's settings from several `editing` parts, of which later ones win.

    Raises OnemaskError when a key has no value, or layers are not ascending.
    """
    settings = {}
    for part in parts:
        settings |= part.get(method, {})
    missing = sorted(editing_keys(root)[method] - set(settings))
    if missing:
        raise OnemaskError(f"a value for {method}'s {', '.join(missing)}", "none", advice)
    layers = settings.get("layers", [])
    if layers != sorted(set(layers)):
        raise OnemaskError(f"{method}'s layers ascending, each once", str(layers), "Order them.")
    return settings


def load_model(name: str, config: dict, root: Path) -> Model:
    """A model's file with its `editing` and `mask` settings merged: defaults, then the model's, then those of a run's config."""
    content = read_yaml(root / "config" / "models" / f"{name}.yaml")
    check(content, "model.schema.yaml", root / "config" / "schemas", f"config/models/{name}.yaml")
    defaults = read_yaml(root / "config" / "defaults.yaml")
    parts = [defaults["editing"], content["editing"], config["editing"]]
    advice = "Add it under editing.{} of config/models/{}.yaml."
    content["editing"] = {
        method: editing_settings(method, parts, root, advice.format(method, name))
        for method in [*config["methods"], *config["compare"]]
    }
    content["mask"] = MaskSettings(**defaults["mask"] | content["mask"] | config["mask"])
    if folder := at_site(content["source"], config["hub"], root):
        content["source"] = {"path": str(folder)}
    elif "path" in content["source"]:
        content["source"]["path"] = _from_here(content["source"]["path"], root)
    return typed(Model, content)


def corpus_source(name: str, hub: str | None, root: Path) -> dict[str, Any]:
    """Where a corpus comes from."""
    content = read_yaml(root / "config" / "datasets" / f"{name}.yaml")
    check(content, "corpus.schema.yaml", root / "config" / "schemas", f"config/datasets/{name}.yaml")
    source = content["source"]
    if folder := at_site(source, hub, root):
        source["hub"] = str(folder)
    if "path" in source:
        source["path"] = _from_here(source["path"], root)
    return source


def load_run(config: dict, root: Path) -> Run:
    """A run of a config, which is checked and has its defaults filled in in place.

    Raises OnemaskError on an unknown key, a wrong type, a missing model or corpus file, or settings that contradict each other.
    """
    if not config:
        raise OnemaskError("a run's config", "none", "Add --configfile config/demo.yaml (or another file of config/).")
    check(config, "run.schema.yaml", root / "config" / "schemas", "the run's config")
    check_methods(config)
    models = {name: load_model(name, config, root) for name in config["models"]}
    sources = {name: corpus_source(name, config["hub"], root) for name in config["corpora"].values()}
    run = typed(Run, {**config, "models": models, "sources": sources})
    check_run(run)
    return run
