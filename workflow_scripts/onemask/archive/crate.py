"""The description of an archive: a Workflow Run RO-Crate with its parameters, jobs, timings, versions, and hashes of all files.

Profile: Provenance Run Crate 0.5 over RO-Crate 1.1, the last version that a published validator checks (roc-validator 0.13).
"""

import importlib.metadata
import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import quote

import yaml
from rocrate.model import ContextEntity, Entity
from rocrate.rocrate import ROCrate

from onemask.archive import finished_run
from onemask.archive.finished_run import Job
from onemask.io.files import sha256

RO_CRATE, PROFILE = "1.1", "0.5"
PROFILES = {"process": "Process Run Crate", "workflow": "Workflow Run Crate", "provenance": "Provenance Run Crate"}
TERMS = "https://w3id.org/ro/terms/workflow-run/context"  # sha256 and resourceUsage, which RO-Crate's own terms lack
CODE_TERMS = {"buildInstructions": "https://codemeta.github.io/terms/buildInstructions"}
MEASUREMENTS = "https://snakemake.readthedocs.io/en/stable/snakefiles/rules.html"
LICENSE = "https://spdx.org/licenses/MIT"
NOT_MEASURED = ("NA", "-")  # of a job that is over before Snakemake looks
UNITS = {"s": "SEC", "cpu_time": "SEC", "max_rss": "MebiBYTE"}  # columns of a benchmark, QUDT's units
TYPES = {bool: "Boolean", int: "Integer", float: "Float", str: "Text"}
FORMATS = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".py": "text/x-python",
    ".safetensors": "application/octet-stream",
    ".tsv": "text/tab-separated-values",
    ".yaml": "application/yaml",
}


@dataclass(frozen=True)
class Commit:
    """sha1: of the archived code. date: when it was committed, ISO 8601."""

    sha1: str
    date: str


@dataclass(frozen=True)
class File:
    """size: bytes."""

    sha256: str
    size: int


def describe(
    root: Path, run: str, commit: Commit, jobs: list[Job], files: dict[str, File], versions: list[tuple[str, str]]
) -> bytes:
    """`ro-crate-metadata.json` of an archive. root: the project's folder. files: all others of the archive, by name.

    What a job read or wrote and the archive lacks is named with its hash, so that it can be checked when it comes by another way.
    """
    crate = ROCrate(version=RO_CRATE)
    crate.metadata.extra_contexts.append(TERMS)
    crate.metadata.extra_terms.update(CODE_TERMS)
    _describe_root(crate, run, commit)
    added = {name: crate.add_file(dest_path=name, properties=_properties(name, file)) for name, file in files.items()}
    added["README.md"]["about"] = crate.root_dataset
    workflow = _add_workflow(crate, commit, files, versions)
    _add_run(crate, root, run, jobs, workflow)
    return b"".join(chunk for _, chunk in crate.metadata.stream())


def _add(crate: ROCrate, identifier: str, kind: str, **properties: object) -> Entity:
    """Add what is no file of the archive, once."""
    return crate.get(identifier) or crate.add(ContextEntity(crate, identifier, {"@type": kind, **properties}))


def _compact(entities: list[Entity]) -> list[Entity] | Entity:
    """The form that RO-Crate asks for: no list around a single value."""
    return entities[0] if len(entities) == 1 else entities


def _file(crate: ROCrate, name: str) -> Entity | None:
    """A file of the archive by its name."""
    return crate.get(quote(name))


def _properties(name: str, file: File) -> dict[str, str]:
    kind = FORMATS.get(Path(name).suffix, "text/plain")
    return {"name": name, "sha256": file.sha256, "contentSize": str(file.size), "encodingFormat": kind}


def _describe_root(crate: ROCrate, run: str, commit: Commit) -> None:
    root = crate.root_dataset
    root["name"] = f"onemask, run {run}"
    root["description"] = (
        f"A finished run of onemask, which reproduces 'One Mask to Rule Them All': its report, tables and figures, the data that "
        f"the figures are drawn from, the code of commit {commit.sha1}, and verify.py, which checks all of them."
    )
    root["datePublished"] = commit.date
    root["license"] = _add(crate, LICENSE, "CreativeWork", name="MIT License")
    profiles = {f"https://w3id.org/ro/wfrun/{key}/{PROFILE}": (name, PROFILE) for key, name in PROFILES.items()}
    profiles["https://w3id.org/workflowhub/workflow-ro-crate/1.0"] = ("Workflow RO-Crate", "1.0")
    root["conformsTo"] = [
        _add(crate, url, "CreativeWork", name=name, version=version) for url, (name, version) in profiles.items()
    ]


def _add_workflow(crate: ROCrate, commit: Commit, files: dict[str, File], versions: list[tuple[str, str]]) -> Entity:
    name = "code/Snakefile"
    workflow = crate.add_workflow(
        dest_path=name,
        main=True,
        lang="snakemake",
        lang_version=importlib.metadata.version("snakemake"),
        properties=_properties(name, files[name]) | {"name": "onemask", "version": commit.sha1},
    )
    workflow["license"] = crate.root_dataset["license"]
    workflow["softwareRequirements"] = [
        _add(crate, f"#package/{package}-{version}", "SoftwareApplication", name=package, softwareVersion=version)
        for package, version in versions
    ]
    installed_from = [name for name in files if fnmatch(name, "code/envs/*.yaml") or fnmatch(name, "code/requirements/*.txt")]
    workflow["buildInstructions"] = _compact([file for name in installed_from if (file := _file(crate, name))])
    return workflow


def _leaves(config: dict, path: str = "") -> Iterator[tuple[str, object]]:
    """Every setting of a configuration by its dotted path; a list is one setting."""
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _add_parameters(crate: ROCrate, workflow: Entity, config: Path) -> Iterator[Entity]:
    """The run's settings, each as a parameter of the workflow and the value that it had."""
    for key, value in _leaves(yaml.safe_load(config.read_text(encoding="utf-8"))):
        kind = TYPES.get(type(value), "Text")
        parameter = crate.add_formal_parameter(
            key, kind, f"#parameter/{key}", properties={"workExample": {"@id": f"#value/{key}"}}
        )
        workflow.append_to("input", parameter)
        text = value if isinstance(value, str) else json.dumps(value)
        yield _add(crate, f"#value/{key}", "PropertyValue", name=key, value=text, exampleOfWork=parameter)


def _located(crate: ROCrate, root: Path, path: str) -> Entity:
    """The file of a path that Snakemake names: one of the archive, or one that is left out of it."""
    at = root / path
    name = at.relative_to(root).as_posix() if at.is_relative_to(root) else at.name
    left_out = f"#left-out/{quote(name)}"
    for known in (_file(crate, name), _file(crate, f"code/{name}"), crate.get(left_out)):
        if known:
            return known
    hashed = {"sha256": sha256(at)} if at.is_file() else {}
    return _add(crate, left_out, "CreativeWork", name=name, description="Not in this archive.", **hashed)


def _add_job(crate: ROCrate, root: Path, job: Job, workflow: Entity) -> Entity:
    """A job: which rule, from what, to what, until when, and what it took."""
    tool = f"code/Snakefile#{job.rule}"
    if tool not in crate:
        properties = {"name": job.rule, "softwareVersion": workflow["version"], "url": workflow.id}
        workflow.append_to("hasPart", _add(crate, tool, "SoftwareApplication", **properties))
    inputs, outputs = (_compact([_located(crate, root, path) for path in paths]) for paths in (job.inputs, job.outputs))
    properties = {"name": job.name, "description": f"A job of the rule {job.rule}."}
    action = crate.add_action(crate.get(tool), f"#job/{job.name}", inputs, outputs, properties)
    if end := finished_run.read_end(root, job):
        action["endTime"] = end
    usage = finished_run.read_usage(root, job)
    action["resourceUsage"] = [
        _add(
            crate,
            f"{action.id}#{column}",
            "PropertyValue",
            name=column,
            propertyID=f"{MEASUREMENTS}?column={column}#benchmark-rules",
            unitCode=f"https://qudt.org/vocab/unit/{unit}",
            value=usage[column],
        )
        for column, unit in UNITS.items()
        if usage[column] not in NOT_MEASURED
    ]
    timings = _file(crate, job.benchmark)
    assert timings is not None, "every job's benchmark is in the archive"
    timings["about"] = action
    return action


def _add_run(crate: ROCrate, root: Path, run: str, jobs: list[Job], workflow: Entity) -> None:
    """The run: its jobs, and as a whole from its settings to all results that are in the archive."""
    config = finished_run.config_of(run)
    parameters = list(_add_parameters(crate, workflow, root / config))
    actions = [_add_job(crate, root, job, workflow) for job in jobs]
    results = [file for job in jobs for path in job.outputs if (file := _file(crate, path))]
    properties = {"name": f"Run {run}", "description": f"snakemake --configfile {config}"}
    whole = crate.add_action(workflow, "#run", [_file(crate, config), *parameters], results, properties)
    if ends := [action["endTime"] for action in actions if "endTime" in action]:
        whole["endTime"] = max(ends)
    crate.root_dataset["mentions"] = [whole, *actions]
