"""Every editor by name, in the order of tables and figures; nothing else lists them. No heavy import, since rules read it.

The keys of an editor's settings are in config/schemas/methods.schema.yaml, its code in a module of this package.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Editor:
    """What the pipeline needs to know of an editor before its code is loaded.

    title: its name in figures. joint: all facts of a split are one edit of the model, else each fact is one. second_moment:
    "never", "always", or the key of its settings that asks for it. several_layers: it spreads an edit over `layers`, else it
    edits one `layer`. by_easyedit: EasyEdit's own code can edit in its place.
    """

    name: str
    title: str
    joint: bool = False
    second_moment: str = "never"
    several_layers: bool = False
    by_easyedit: bool = False

    def layers(self, settings: dict) -> list[int]:
        """Layers that it edits under some settings, the one that a mask is trained for last."""
        return settings["layers"] if self.several_layers else [settings["layer"]]

    def moment_layers(self, settings: dict) -> list[int]:
        """Layers whose second moments it needs under some settings."""
        needed = self.second_moment == "always" or settings.get(self.second_moment)
        return self.layers(settings) if needed else []


EDITORS = {
    editor.name: editor
    for editor in (
        Editor("rome", "ROME", second_moment="mom2_adjustment", by_easyedit=True),
        Editor("r-rome", "r-ROME", second_moment="mom2_adjustment"),
        Editor("memit", "MEMIT", joint=True, second_moment="always", several_layers=True, by_easyedit=True),
        Editor("emmet", "EMMET", joint=True, second_moment="always", several_layers=True),
        Editor("alphaedit", "AlphaEdit", joint=True, second_moment="always", several_layers=True),
        Editor("ft-l", "FT-L"),
    )
}


def title(name: str) -> str:
    """An editor's name in figures."""
    return EDITORS[name].title


def of_easyedit() -> list[str]:
    """Names of the editors in whose place EasyEdit's own code can edit."""
    return [editor.name for editor in EDITORS.values() if editor.by_easyedit]


def listed(names: list[str], last: str) -> str:
    """Names in a sentence, as "rome, r-rome or memit" with last="or"."""
    *others, final = names
    return f"{', '.join(others)} {last} {final}" if others else final


def markdown() -> str:
    """The editors as a table of Markdown, for the docs."""
    lines = ["| method | editor | edits | layers | second moment |", "|---|---|---|---|---|"]
    for editor in EDITORS.values():
        moment = editor.second_moment if editor.second_moment in ("never", "always") else f"with `{editor.second_moment}`"
        edits = "joint: all facts at once" if editor.joint else "single: each fact on its own"
        layers = "several (`layers`)" if editor.several_layers else "one (`layer`)"
        lines.append(f"| `{editor.name}` | {editor.title} | {edits} | {layers} | {moment} |")
    return "\n".join(lines) + "\n"
