"""The shipped configurations of runs, for tests that change a key of one."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8"))


def demo() -> dict:
    """The demo's config with every other editor compared."""
    return read("demo") | {"compare": ["r-rome", "memit", "emmet", "alphaedit", "ft-l"]}


def changed(path: object, value: object) -> dict:
    """That config with the key at a dotted path set to `value`."""
    config = demo()
    at = config
    *parents, last = path.split(".") if isinstance(path, str) else [path]
    for key in parents:
        at[key] = dict(at.get(key, {}))  # a copy: YAML's aliases share one dict
        at = at[key]
    at[last] = value
    return config
