"""Fetching from the hub by revision: resumed after a kill, and checked against the hashes that the hub itself states.

The hub's address is HF_ENDPOINT's, the token HF_TOKEN's: its library's own
environment variables, for which it is imported late.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from onemask.io.errors import OnemaskError, reason
from onemask.io.files import sha256
from onemask.model.checkpoints import family_of, read_json, refuse_adapter

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

# weights and what is needed to read them: no pickles, no code
JUDGED = ["config.json", "adapter_config.json"]
WANTED = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "tokenizer*", "merges.txt"]


@contextlib.contextmanager
def _told(repository: str, revision: str) -> Generator[None, None, None]:
    """Within the block, what the hub refuses or the network breaks off is an OnemaskError that says what to do."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except GatedRepoError as error:
        found = "one without access" if os.environ.get("HF_TOKEN") else "none"
        advice = f"Accept its licence at {constants.ENDPOINT}/{repository}, then put a token of that account into HF_TOKEN."
        raise OnemaskError(f"a token for {repository}, which is gated", found, advice) from error
    except RevisionNotFoundError as error:
        advice = "Correct `revision`: a commit, a tag or a branch."
        raise OnemaskError(f"revision {revision} of {repository}", "no such revision", advice) from error
    except RepositoryNotFoundError as error:
        advice = "Correct the name; for a private repository put a token into HF_TOKEN."
        raise OnemaskError(f"{repository} on the hub", "no such repository", advice) from error
    except OnemaskError:
        raise
    except Exception as error:  # the library lets all kinds of its transport's errors through
        advice = "Check the network, then run again: what has arrived is kept."
        raise OnemaskError(f"{repository} at revision {revision} from {constants.ENDPOINT}", reason(error), advice) from error


def fetch_hub(repository: str, revision: str, folder: Path) -> str:
    """Fetch config, tokenizer and safetensors of a hub repository into `folder`; the commit.

    Until all of it has arrived, what has lies beside `folder`, under a name with the commit: a fetch that is killed or cut off
    goes on there.

    Raises OnemaskError when repository, revision or network is not there, access is refused, or a file is not what the hub lists.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.hf_api import RepoFile

    with _told(repository, revision):
        commit = str(HfApi().repo_info(repository, revision=revision).sha)
        partial = folder.parent / f".{repository.replace('/', '--')}.{commit}"
        listed = HfApi().list_repo_tree(repository, revision=commit, recursive=True)
        files = [file for file in listed if isinstance(file, RepoFile)]
        for wanted in (JUDGED, WANTED):
            snapshot_download(repository, revision=commit, local_dir=partial, allow_patterns=wanted)
            arrived = [file for file in files if (partial / file.path).is_file()]
            for file in arrived:
                _check(partial / file.path, file, repository)
            try:
                _require_editable(partial, repository)
            except OnemaskError:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    for file in arrived:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial / file.path, folder / file.path)
    shutil.rmtree(partial)
    return commit


def cached_hub(repository: str) -> Path:
    """`fetch_hub` of the newest revision into the hub's own cache; its folder there, which is named after the commit."""
    from huggingface_hub import snapshot_download

    with _told(repository, "main"):
        _require_editable(Path(snapshot_download(repository, revision="main", allow_patterns=JUDGED)), repository)
        return Path(snapshot_download(repository, revision="main", allow_patterns=WANTED))


def _require_editable(folder: Path, repository: str) -> None:
    """Raise OnemaskError, before weights are fetched, where what has arrived of a repository says that it cannot be edited."""
    refuse_adapter({name for name in JUDGED if (folder / name).is_file()}, repository)
    if not (folder / "config.json").is_file():
        advice = "Take the repository of the model as it was trained, with config.json and safetensors."
        raise OnemaskError(f"a model with config.json in {repository}", "no such file", advice)
    family_of(read_json(folder / "config.json"), repository)


def _check(path: Path, listed: "RepoFile", repository: str) -> None:
    """Raise OnemaskError, and delete the file, where it is not the one that the hub lists."""
    if listed.lfs is not None:
        expected, found = f"sha256 {listed.lfs.sha256}", f"sha256 {sha256(path)}"
    else:
        content = path.read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        expected, found = f"git object {listed.blob_id}", f"git object {blob}"
    if found != expected:
        path.unlink()
        advice = "It was damaged on its way, or at the site's mirror; run again to fetch that file anew."
        raise OnemaskError(f"{expected} for {listed.path} of {repository}", found, advice)
