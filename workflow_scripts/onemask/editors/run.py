"""From facts to edits: one door to every editor."""

import logging

import pandas as pd

from onemask import editors
from onemask.editors.base import Edited, Task
from onemask.io.errors import OnemaskError


def facts_to_edit(
    facts: pd.DataFrame,
    knowledge: pd.DataFrame,
    split: str,
    relations: list[str],
    only_known: bool,
    per_relation: int | None = None,
) -> pd.DataFrame:
    """The facts of some relations of a split, all or those that the unedited model knows, the first `per_relation` of each.

    Raises OnemaskError when none is left.
    """
    selected = facts[facts["relation_id"].isin(relations)]
    if only_known:
        known = knowledge.loc[(knowledge["split"] == split) & knowledge["known"], "case_id"]
        selected = selected[selected["case_id"].isin(known)]
    if selected.empty:
        raise OnemaskError(
            f"a fact of {', '.join(relations)} in {split} to edit",
            "none that the model knows" if only_known else "none",
            "Ask for more facts, or set only_known: false.",
        )
    if per_relation is not None:
        selected = selected.groupby("relation_id").head(per_relation)
    return selected.reset_index(drop=True)


def settings_of(method: str, settings: dict) -> object:
    """The settings object of a method from its keys of config/schemas/methods.schema.yaml.

    `templates` is passed over, since templates are made beforehand.
    """
    kind = editors.load(method).Settings
    return kind(**{key: value for key, value in settings.items() if key != "templates"})


def edit(task: Task, method: str, settings: dict, editor: str = "onemask", easyeditor: str | None = None) -> Edited:
    """Edit the task's facts with a method. Failed edits are logged and marked; the others stand.

    settings: the keys of config/schemas/methods.schema.yaml. editor: "onemask", or "easyeditor" for ROME and MEMIT by EasyEdit's
    own code; easyeditor: a checkout's path, None for the installed wheel.

    Raises OnemaskError when the first template is not "{}" or the editor refuses its input.
    """
    if not task.templates or task.templates[0] != "{}":
        raise OnemaskError('"{}" as the first template', repr(task.templates[:1]), "Make the templates again.")
    of_method = settings_of(method, settings)
    if editor == "easyeditor":
        result = editors.load("easyedit").edit(task, method, of_method, easyeditor)
    else:
        result = editors.load(method).edit(task, of_method)
    if result.failed.any():
        names = [task.facts[i]["subject"] for i in result.failed.nonzero()[:, 0].tolist()]
        logging.warning("%d of %d edits failed (loss not finite): %s", len(names), len(task.facts), ", ".join(names[:10]))
    return result
