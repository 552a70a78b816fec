"""What a stage costs, counted before it runs: floating-point operations from a model's shape and the length of its texts.

A forward pass through a block costs two operations a weight and token; one that is differentiated with respect to its input
twice as much again. Attention between the few tokens of a fact is left out.
"""

from dataclasses import dataclass

from onemask.editors.second_moment import STRIPS
from onemask.masking.settings import MaskSettings

# mean tokens of a prompt, of its paraphrases and neighbourhood prompts, of an object, and from the subject's last token on; texts
# on which a fact is scored, which are one where both objects are one token: 400 facts of each, with SmolLM2's tokenizer
TEXTS = {
    "embedded": {"prompt": 9.1, "paraphrase": 9.9, "neighbour": 9.2, "object": 1.3, "suffix": 3.0, "scored": 1.4},
    "counterfact": {"prompt": 8.4, "paraphrase": 20.7, "neighbour": 8.4, "object": 1.3, "suffix": 4.3, "scored": 1.2},
}
TEXTS_AN_EDIT = 3  # on which the mask is trained: the prompt and two paraphrases
STATES = 9  # of onemask.measuring.states.states_of for the main mask
VARYING = 6  # those of them that are another one for each edit


@dataclass(frozen=True)
class Shape:
    """Sizes of a model. block, mlp: weights of one block, and of its MLP."""

    n_layers: int
    d_model: int
    d_mlp: int
    vocabulary: int
    block: float
    mlp: float

    def through(self, layers: float, tokens: float) -> float:
        """Operations of a forward pass through some blocks."""
        return 2 * self.block * layers * tokens

    def behind(self, layer: int, tokens: float, read: float) -> float:
        """Operations of a forward pass behind a layer, of which some tokens are read: on these alone the last MLP runs."""
        blocks = self.n_layers - layer - 1
        return self.through(blocks, tokens) - 2 * self.mlp * (tokens - read) * bool(blocks)

    def read(self, places: float) -> float:
        """Operations of the unembedding at some places."""
        return 2 * self.vocabulary * self.d_model * places

    def matrix(self, tokens: float) -> float:
        """Operations of one product with the edited matrix."""
        return 2 * self.d_model * self.d_mlp * tokens


def scored(shape: Shape, layer: int, texts: dict, facts: float, states: float, prompt: str = "prompt") -> float:
    """Facts scored in some states of a layer: up to it once, behind it in every state."""
    return shape.through(layer + 1, scored_tokens(texts, facts, prompt)) + states * in_a_state(shape, layer, texts, facts, prompt)


def scored_tokens(texts: dict, facts: float, prompt: str) -> float:
    """Tokens of the texts on which facts are scored."""
    return facts * texts["scored"] * (texts[prompt] + texts["object"] - 1)


def in_a_state(shape: Shape, layer: int, texts: dict, facts: float, prompt: str = "prompt") -> float:
    """What one state of a layer adds to `scored`; both objects are read."""
    tokens, read = scored_tokens(texts, facts, prompt), facts * 2 * texts["object"]
    return shape.behind(layer, tokens, read) + 2 * shape.matrix(tokens) + shape.read(read)


def contexts(settings: dict) -> tuple[int, float]:
    """Number of a method's context templates, "{}" among them, and the mean tokens that they put before a prompt."""
    templates = 1 + sum(kind["count"] for kind in settings["templates"])
    return templates, sum(kind["count"] * kind["length"] for kind in settings["templates"]) / templates


def edited(shape: Shape, layer: int, texts: dict, facts: float, settings: dict) -> float:
    """ROME's or MEMIT's optimisation of delta: every text once, then steps from the lookup position on, forward and backward.

    What a template puts before all facts' prompts runs once for all of them, and is not counted.
    """
    templates, _ = contexts(settings)
    once = shape.through(shape.n_layers, facts * templates * (texts["prompt"] + texts["object"] - 1))
    tokens = facts * templates * (texts["suffix"] + texts["object"] - 1)
    step = 2 * shape.through(shape.n_layers - layer - 1, tokens) + 2 * shape.read(facts * (templates * texts["object"] + 1))
    return once + settings["steps"] * step + scored(shape, layer, texts, facts, 2)


def masked(shape: Shape, layer: int, texts: dict, edits: float, settings: MaskSettings) -> float:
    """The mask's training: every text up to the layer once, then forward and backward behind it in every epoch; validation."""
    tokens = edits * (texts["prompt"] + (TEXTS_AN_EDIT - 1) * texts["paraphrase"])
    places = edits * TEXTS_AN_EDIT
    # behind the layer only the gradient of its output is wanted; of the two products at the layer also that of the mask
    step = 2 * shape.behind(layer, tokens, places) + 6 * shape.matrix(tokens) + 3 * shape.read(places)
    held = settings.validation_share
    epoch = (1 - held) * step + held * in_a_state(shape, layer, texts, edits)
    return shape.through(shape.n_layers, tokens) + settings.epochs * epoch


def perplexity(shape: Shape, layer: int, tokens: float, states: float) -> float:
    """Perplexity of a text in some states of a layer."""
    behind = shape.through(shape.n_layers - layer - 1, tokens) + 2 * shape.matrix(tokens) + shape.read(tokens)
    return shape.through(layer + 1, tokens) + states * behind


def outer_products(shape: Shape, layers: int, tokens: float) -> float:
    """The second moments' products of keys with keys, in several layers; what mirrors the rest is not computed."""
    return layers * (1 + 1 / STRIPS) * shape.d_mlp**2 * tokens


def patched(shape: Shape, layer: int, texts: dict, facts: float) -> float:
    """Outputs of later layers replaced: three kinds, from each layer behind the edited one on."""
    later = shape.n_layers - layer - 1
    return 3 * (shape.through(later * (later + 1) / 2, facts * texts["prompt"]) + (later + 1) * shape.read(facts))
