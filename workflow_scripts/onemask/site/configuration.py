"""docs/configuration.md: every key of every file of config/, from the schemas that check them."""

import re
from collections.abc import Iterator
from pathlib import Path

from onemask.config.load import read_yaml
from onemask.site.grids import markdown

PAGES = {
    "run": ("A run", "`config/*.yaml` that `--configfile` names."),
    "methods": ("Editing methods", "Keys of `editing.<method>` in a run's or a model's file."),
    "model": ("A model", "`config/models/*.yaml`."),
    "corpus": ("A corpus", "`config/datasets/*.yaml`."),
    "claims": ("Claims", "`config/claims.yaml`, a list."),
    "captions": ("Captions", "`config/captions.yaml`."),
    "paper_values": ("The paper's figures", "`config/paper_values.yaml`."),
}
HEADER = """# Configuration

Written from `config/schemas/` by `make docs`. Settings merge in this order: `config/defaults.yaml` (the paper's and EasyEdit's
values, with sources), the model's file, the run's file. An unknown key is an error that names it. `results/<run>/config.yaml`
holds all settings of a run, merged; it starts the same run.
"""
Row = tuple[str, str, str, str]  # key, values, default, description


def values(schema: dict) -> str:
    """What a key may hold: a type with its bounds, or the values themselves."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "$ref" in schema:
        return "object"
    kinds = schema.get("type", "object")
    kinds = " or ".join(kinds) if isinstance(kinds, list) else kinds
    if kinds == "array" and "items" in schema:
        kinds = f"list of {values(schema['items'])}"
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    return " ".join([kinds, *(f"{sign} {schema[key]}" for key, sign in signs.items() if key in schema)])


def below(schema: dict) -> Iterator[dict]:
    """Parts of a schema whose properties stand under the same key: itself, its alternatives, its items."""
    yield schema
    yield from (alternative for alternative in schema.get("oneOf", []) if "properties" in alternative)
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), dict):
            yield from below(schema[part])


def keys(schema: dict, at: str = "") -> Iterator[Row]:
    """Every key below a schema, nested ones as `a.b`; what refers to another schema is named, not followed."""
    for part in below(schema):
        for key, rules in part.get("properties", {}).items():
            default = rules.get("default")
            written = (
                ""
                if default is None or isinstance(default, dict)
                else f"`{default}`".replace("True", "true").replace("False", "false")
            )
            yield f"{at}{key}", values(rules), written, rules.get("description", "")
            yield from keys(rules, f"{at}{key}.")


def method_keys(schema: dict, defaults: dict) -> Iterator[Row]:
    """Every key of the methods, once where several share it; in place of values, the methods that have it."""
    shared: dict[tuple[str, str], list[str]] = {}
    for method, rules in schema["properties"].items():
        for key, row in rules["properties"].items():
            shared.setdefault((key, row["description"]), []).append(method)
    for (key, description), methods in shared.items():
        found = {str(defaults[method][key]) for method in methods if key in defaults[method]}
        yield (
            key,
            ", ".join(methods),
            f"`{found.pop()}`" if len(found) == 1 else "by method" if found else "the model's",
            description,
        )


def mask_keys(schema: dict, defaults: dict) -> Iterator[Row]:
    """Every key of `mask`, with its value in config/defaults.yaml."""
    for key, rules in schema["properties"].items():
        yield key, values(rules), f"`{defaults[key]}`" if key in defaults else "the model's", rules["description"]


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in a table's cell; code is left alone."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()).replace("|", "\\|"))
    return "".join(part if part.startswith("`") else re.sub(r"([*<\[])", r"\\\1", part) for part in parts)


def section(title: str, text: str, header: str, found: Iterator[Row]) -> str:
    rows = [[f"`{key}`", *map(escaped, row)] for key, *row in found]
    return f"## {title}\n\n{text}\n" + (f"\n{markdown(['key', header, 'default', 'meaning'], rows)}\n" if rows else "")


def page(config: Path) -> str:
    """The page, from the schemas and defaults in a folder."""
    schemas = {name: read_yaml(config / "schemas" / f"{name}.schema.yaml") for name in PAGES}
    defaults = read_yaml(config / "defaults.yaml")
    sections = []
    for name, (title, where) in PAGES.items():
        text = f"{where} {escaped(schemas[name].get('description', ''))}"
        if name == "methods":
            sections.append(section(title, text, "methods", method_keys(schemas[name], defaults["editing"])))
            mask = schemas["model"]["$defs"]["mask"]
            where = "Keys of `mask` in a run's or a model's file, and of `mask_by_method.<method>`."
            sections.append(section("The mask", where, "values", mask_keys(mask, defaults["mask"])))
        else:
            sections.append(section(title, text, "values", keys(schemas[name])))
    return "\n".join([HEADER, *sections])
