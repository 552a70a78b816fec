"""What no schema can say of a run: settings that contradict each other, or that one lacks."""

import math

from onemask.config.run import Run
from onemask.config.settings import Facts, Model
from onemask.data.splits import split_of
from onemask.editors.registry import EDITORS, listed, of_easyedit
from onemask.io.errors import OnemaskError


def check_methods(config: dict) -> None:
    """OnemaskError when a method is unknown, named twice, or beyond what the chosen editor can do."""
    named = [*config["methods"], *config["compare"]]
    for method in [*named, *config["mask_by_method"]]:
        if method not in EDITORS:
            found, to_do = repr(method), "Correct methods, compare or mask_by_method."
            raise OnemaskError(f"methods out of {', '.join(EDITORS)}", found, to_do)
        if config["editor"] == "easyeditor" and not EDITORS[method].by_easyedit:
            wanted = f"{listed(of_easyedit(), 'or')}, which EasyEdit can run here"
            raise OnemaskError(wanted, method, "Leave it out, or set editor: onemask.")
    if len(named) != len(set(named)):
        raise OnemaskError("each method once in methods and compare", str(named), "Leave out the second.")


def check_facts(facts: Facts) -> None:
    """OnemaskError when settings of the facts contradict each other, or one that others call for is missing."""
    if facts.splits == "released":
        needed = {"released": "facts.splits is released"}
    else:
        needed = {"path": "facts.dataset is counterfact"} if facts.dataset == "counterfact" else {}
        missing = sorted({"train", "test"} - set(facts.per_relation))
        if missing:
            raise OnemaskError("facts.per_relation with train and test", f"no {missing}", "Add the number of facts a relation.")
    for key, reason in needed.items():
        if not getattr(facts, key):
            raise OnemaskError(f"facts.{key}, since {reason}", "none", "Add the key.")
    both = set(facts.relations) & set(facts.ood_relations)
    if both:
        found = f"{sorted(both)} in both lists"
        raise OnemaskError("OOD relations that are not trained on", found, "Correct facts.ood_relations.")
    if facts.per_relation.get("ood") and not facts.ood_relations:
        found = f"none for facts.per_relation.ood: {facts.per_relation['ood']}"
        raise OnemaskError("facts.ood_relations", found, "Name them, or set ood: 0.")


def check_corpora(run: Run) -> None:
    """OnemaskError when a corpus does not serve its purpose, or less of it than a window is asked for."""
    for purpose, settings in (("statistics", run.statistics), ("perplexity", run.perplexity)):
        if settings.tokens < settings.window:
            found = f"{settings.tokens} in windows of {settings.window}"
            raise OnemaskError(f"{purpose}.tokens for one window at least", found, f"Correct {purpose}.tokens or window.")
        name = getattr(run.corpora, purpose)
        part = run.sources[name]["part"]
        if part not in (purpose, "both"):
            found = f"part: {part} in config/datasets/{name}.yaml"
            raise OnemaskError(f"a corpus for {purpose}", found, f"Take another one for corpora.{purpose}.")


def check_layers(name: str, model: Model) -> None:
    """OnemaskError when a method edits a layer that the model, by the shape in its file, does not have."""
    layers = model.shape.layers if model.shape else math.inf
    for method, settings in model.editing.items():
        beyond = [layer for layer in EDITORS[method].layers(settings) if layer >= layers]
        if beyond:
            raise OnemaskError(
                f"layers below {layers}, the number in the shape of config/models/{name}.yaml",
                f"{', '.join(map(str, beyond))} for {method}",
                f"Correct editing.{method}, or the shape.",
            )


def check_facts_of_methods(run: Run) -> None:
    """OnemaskError when a method that makes a joint edit has no facts to edit."""
    trained = {*run.methods, *run.studies.transfer}
    for method in (method for method in (*run.methods, *run.compare) if run.joint(method)):
        needed = [split_of(role, joint=True) for role in ("train", "test") if role == "test" or method in trained]
        missing = [split for split in needed if not run.facts.per_relation.get(split)]
        if missing and run.facts.splits == "sampled":
            wanted = f"facts.per_relation for {method}, which edits facts jointly"
            raise OnemaskError(wanted, f"no {', '.join(missing)}", "Add the number of facts.")


def check_studies(run: Run) -> None:
    """OnemaskError when a study asks for what its methods or layers do not allow."""
    studies, first = run.studies, run.methods[0]
    if unknown := sorted(set(studies.transfer) - {*run.methods, *run.compare}):
        raise OnemaskError("studies.transfer out of methods and compare", f"{unknown}", "Add them to compare.")
    if studies.transfer and studies.transfer[0] not in run.methods:
        raise OnemaskError("a method of methods first in studies.transfer", studies.transfer[0], "Begin with one of methods.")
    if len(studies.layers) == 1:
        raise OnemaskError("two layers or more in studies.layers", f"{list(studies.layers)}", "Add one, or leave the study out.")
    if studies.layers and (EDITORS[first].joint or EDITORS[first].several_layers):
        wanted = "a first method that edits one layer, for studies.layers"
        raise OnemaskError(wanted, first, "Put rome first, or leave layers out.")
    if EDITORS[first].joint and (studies.pruning_shares or studies.blocking_shares):
        wanted = "a first method that edits each fact on its own, for studies.pruning_shares and blocking_shares"
        raise OnemaskError(wanted, first, "Put rome first, or leave them out.")
    if bool(studies.shares) != bool(studies.parametrisations) or studies.pruning_shares and not studies.shares:
        found = "shares, parametrisations or pruning_shares without the others"
        raise OnemaskError("studies.parametrisations and studies.shares together", found, "Add what is missing.")
    check_amounts(run)
    for name in run.models:
        last = {method: run.edited_layers(method, name)[-1] for method in studies.transfer}
        if len(set(last.values())) > 1:
            raise OnemaskError(f"methods of studies.transfer that edit {name} in one last layer", f"{last}", "Leave some out.")


def check_amounts(run: Run) -> None:
    """OnemaskError when a study asks for more training facts, or more folds, than there are."""
    studies, relations = run.studies, len(run.facts.relations)
    trained = run.facts.per_relation.get("train", 0) * relations
    if run.facts.splits == "sampled" and max(studies.training_edits, default=0) > trained:
        found = f"{max(studies.training_edits)}"
        raise OnemaskError(f"studies.training_edits of at most {trained}, the training facts", found, "Ask for fewer.")
    if studies.folds and not 2 <= studies.folds <= relations:
        found = f"studies.folds: {studies.folds} of {relations} relations"
        raise OnemaskError("between two folds and one a relation", found, "Correct studies.folds.")


def check_run(run: Run) -> None:
    """All of the above but `check_methods`, without which there is no run."""
    check_facts(run.facts)
    check_corpora(run)
    for name, model in run.models.items():
        check_layers(name, model)
    check_facts_of_methods(run)
    check_studies(run)
