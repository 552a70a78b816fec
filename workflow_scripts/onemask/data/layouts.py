"""What the records of people's facts files mean: one table of layouts, each with the function that reads it.

A layout's reader gives what a fact says under CounterFact's names, unchecked; onemask.data.read_facts checks it. The layouts are
described, with the sources that they are known from, in docs/facts.md.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from onemask.io.errors import OnemaskError, shown

# CounterFact's name of each part of a fact, and what others call it
NAMES = {
    "case_id": ("case_id",),
    "relation_id": ("relation_id", "relation"),
    "prompt": ("prompt",),
    "subject": ("subject",),
    "target_new": ("target_new",),
    "target_true": ("target_true", "ground_truth"),
    "paraphrase_prompts": ("paraphrase_prompts", "paraphrases", "rephrase_prompt", "rephrase"),
    "neighborhood_prompts": ("neighborhood_prompts", "neighborhood"),
}
NEEDED = ("prompt", "subject", "target_new")
LISTS = {"requested_rewrite", "ground_truth", "answers", *NAMES["paraphrase_prompts"], *NAMES["neighborhood_prompts"]}
KEYS = tuple(dict.fromkeys([*(name for names in NAMES.values() for name in names), "src", "answers", "concept", "labels"]))
# names that are not read, since they may mean something else, but that are likely to mean this
LIKELY = {
    "prompt": ("question", "query", "sentence", "template", "text", "input"),
    "subject": ("entity", "head", "topic", "concept"),
    "target_new": ("answer", "target", "object", "object_new", "new_object", "new_target", "new_answer", "label", "output"),
    "target_true": ("true", "original", "old_object", "object_true", "true_object", "original_object", "target_old"),
}
Parts = dict[str, object]


class Doubled(dict):
    """A JSON object that holds a key twice, of which Python keeps the last."""

    def __init__(self, content: dict, twice: list[str]):
        super().__init__(content)
        self.twice = twice


Reader = Callable[[], Parts]


@dataclass(frozen=True)
class Layout:
    """A way of writing facts down. keys: those without which a record is not of it. readers: one for each fact of a record."""

    name: str
    keys: tuple[str, ...]
    readers: Callable[[dict], list[Reader]]


def _first(value: object) -> object:
    """The first of a list, or of a list in it; None of an empty one; what is no list stays."""
    while isinstance(value, list):
        value = value[0] if value else None
    return value


def _named(record: dict) -> Parts:
    """What a record says under the first of its names in `NAMES`, since others may be more of the same.

    Raises OnemaskError where two names have different true objects, a part is missing, or a key is near one that is missing.
    """
    parts: Parts = {}
    for part, names in NAMES.items():
        given = {name: record[name] for name in names if record.get(name) is not None}
        if part == "target_true":
            given = {name: first for name, value in given.items() if (first := _first(value)) is not None}
            if len(given) > 1 and given["target_true"] != given["ground_truth"]:
                raise OnemaskError(f"one of {' and '.join(given)}", "both, which differ", "Leave one out.")
        if given:
            name, parts[part] = next(iter(given.items()))
            if name.startswith("rephrase") and isinstance(parts[part], str):
                parts[part] = [parts[part]]
    if any(part not in parts for part in NEEDED):
        raise _unknown(record)
    _refuse_misspelt(record, parts)
    return parts


def _plain(record: dict) -> list[Reader]:
    """Keys at the top, as plain records, EasyEdit's and KnowEdit's have them."""
    return [partial(_named, record)]


def _counterfact(record: dict) -> list[Reader]:
    """One `requested_rewrite`; of MQuAKE a list of them, each a fact of its own."""
    rewrite = record["requested_rewrite"]
    if isinstance(rewrite, dict):
        _require_single(rewrite)
        of_rewrite = ("requested_rewrite", *NEEDED, *NAMES["target_true"])
        return [partial(_named, {key: value for key, value in record.items() if key not in of_rewrite} | rewrite)]
    if not isinstance(rewrite, list) or not rewrite:
        raise OnemaskError("an object, or a list of them, as requested_rewrite", shown(rewrite), "Correct the record.")
    return [partial(_of_mquake, entry) for entry in rewrite]


def _of_mquake(entry: object) -> Parts:
    """An entry with `question` as its paraphrase; neighbourhood prompts there are none."""
    if not isinstance(entry, dict):
        raise OnemaskError("an object for each entry of requested_rewrite", shown(entry), "Correct the record.")
    _require_single(entry)
    question = entry.get("question")
    return {"neighborhood_prompts": [], "paraphrase_prompts": [] if question is None else [question]} | _named(entry)


def _zsre(record: dict) -> list[Reader]:
    """As MEMIT converts zsRE: the first of `answers` is the new object, and no true one is known; `loc` is of another fact."""
    parts = {
        **{key: record[key] for key in ("case_id", "subject") if record.get(key) is not None},
        "prompt": record["src"],
        "target_new": _first(record["answers"]),
        "paraphrase_prompts": [record["rephrase"]] if record.get("rephrase") is not None else [],
        "neighborhood_prompts": [],
    }
    return [lambda: parts]


def _wikibio(record: dict) -> list[Reader]:
    """KnowEdit's WikiBio, by its names for prompt, new object and subject."""
    return [lambda: {"prompt": record["text"], "target_new": record["labels"], "subject": record["concept"]}]


def _ripple_edits(record: dict) -> list[Reader]:
    found = "RippleEdits' layout, which names subject and objects by Wikidata's ids and writes them into one sentence"
    raise OnemaskError("prompt, subject and target_new", found, "Write prompt, subject, target_new and target_true of each edit.")


# in the order in which they are tried
LAYOUTS = (
    Layout("CounterFact and MQuAKE", ("requested_rewrite",), _counterfact),
    Layout("plain, EasyEdit and KnowEdit", NEEDED, _plain),
    Layout("zsRE of MEMIT", ("subject", "src", "answers"), _zsre),
    Layout("WikiBio of KnowEdit", ("concept", "text", "labels"), _wikibio),
    Layout("RippleEdits", ("example_type", "edit"), _ripple_edits),
)


def facts_of(record: object) -> list[Reader]:
    """A reader of each fact of a record: called, it gives what the fact says under the names of `NAMES`, without what is null.

    Raises OnemaskError, as a reader may, when it is no record, holds a key twice, or is of no known layout.
    """
    if isinstance(record, OnemaskError):
        raise record
    if not isinstance(record, dict):
        raise OnemaskError("a JSON object", type(record).__name__, f"Give it the keys {', '.join(NEEDED)}, target_true.")
    _require_single(record)
    for layout in LAYOUTS:
        if all(record.get(key) is not None for key in layout.keys):
            return layout.readers(record)
    raise _unknown(record)


def _require_single(record: dict) -> None:
    for part in (record, *(record.get(key) for key in KEYS)):
        if isinstance(part, Doubled):
            raise OnemaskError("each key once", f"{', '.join(part.twice)} twice", "Leave one out.")


def require_parts(parts: Parts, needed: tuple[str, ...]) -> None:
    """Raise OnemaskError where some parts of a fact are missing."""
    missing = [part for part in needed if part not in parts]
    if missing:
        raise OnemaskError("a fact's keys", f"no {', '.join(missing)}", "Add them.")


def _unknown(record: dict) -> OnemaskError:
    """The error of a record of no layout: what it holds, what it lacks of the nearest one, what may be meant by another name."""

    def lacking(layout: Layout) -> list[str]:
        return [key for key in layout.keys if record.get(key) is None]

    nearest = min((LAYOUTS[1], *LAYOUTS), key=lambda layout: len(lacking(layout)) / len(layout.keys))
    missing, unread = lacking(nearest), [str(key) for key in record if key not in KEYS]
    renames = [f"Rename {near} to {part}." for part in missing if (near := _meant(part, unread))]
    wrapped = [key for key, value in record.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if len(missing) == len(nearest.keys) and wrapped:
        renames = [f"The list in {wrapped[0]} may be the facts: save it as the file."]
    keys = f"its keys are {shown([str(key) for key in record][:20])}" if record else "it is empty"
    advice = " ".join(renames) or "Add them, or write it as docs/facts.md says."
    return OnemaskError(f"a fact's keys (nearest layout: {nearest.name})", f"no {', '.join(missing)}; {keys}", advice)


def _meant(part: str, keys: list[str]) -> str | None:
    """Which of the keys that are not read may mean this part of a fact."""
    by_lower = {key.lower(): key for key in keys}
    likely = next((name for name in LIKELY.get(part, ()) if name in by_lower), None)
    near = [likely] if likely else difflib.get_close_matches(part, by_lower, 1, cutoff=0.8)
    return by_lower[near[0]] if near else None


def _refuse_misspelt(record: dict, parts: Parts) -> None:
    """A misspelt key that may be left out would pass unseen."""
    unread = [str(key) for key in record if key not in KEYS]
    for part in (part for part in NAMES if part not in parts):
        if near := _meant(part, unread):
            raise OnemaskError(f"{part} under a name that is known", near, f"Rename {near} to {part}.")
