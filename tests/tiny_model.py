"""Train a small GPT-2 on some embedded facts until it knows them: a model whose edits mean something, in one or two minutes.

Sentences are shown in pairs, since editing puts a context before the prompt and GPT-2 learns each position by itself.
Training doubles a difference in the last bit again and again, and processors round differently: it is done in float64
throughout, after which the weights agree to some thousandths on all; in float32 each kind of processor has its own model.

Run as a script (`python tests/tiny_model.py`) it fills tests/.cache, which config/test.yaml reads; the cache is keyed by
this file and the facts, so a change to either trains anew.
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "tests" / ".cache"
FACTS = ROOT / "config" / "datasets" / "embedded"
RELATIONS = ("P17", "P103", "P37")
EPOCHS, BATCH = 40, 48


def sentences() -> list[str]:
    facts = pd.read_csv(FACTS / "facts.csv", dtype=str, keep_default_na=False)
    prompts = pd.read_csv(FACTS / "relations.csv", dtype=str).set_index("relation")
    return [
        f"{prompts.loc[row.relation, column].replace('{}', row.subject)} {row.object}"
        for row in facts[facts["relation"].isin(RELATIONS)].itertuples()
        for column in ("prompt", "paraphrase_1", "paraphrase_2")
    ]


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")


def object_ids(tokenizer: PreTrainedTokenizerFast, text: str, space: bool = True) -> list[int]:
    """Token ids of an object: a byte-level tokenizer reads it apart, with its space, as it does behind a prompt."""
    return tokenizer(" " * space + text, add_special_tokens=False)["input_ids"]


def train(network: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> None:
    generator = torch.Generator().manual_seed(0)
    count = -(-len(texts) // 2)
    steps = EPOCHS * -(-count // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(texts), generator=generator).tolist()
        pairs = [". ".join(texts[i] for i in order[at : at + 2]) for at in range(0, len(order), 2)]
        for at in range(0, len(pairs), BATCH):
            batch = [ids + [0] for ids in tokenizer(pairs[at : at + BATCH])["input_ids"]]
            longest = max(map(len, batch))
            ids = torch.tensor([row + [0] * (longest - len(row)) for row in batch])
            labels = torch.tensor([row + [-100] * (longest - len(row)) for row in batch])
            optimiser.zero_grad()
            logits = network(ids).logits[:, :-1]  # transformers' own loss is float32's
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten()).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()


def initialise(network: GPT2LMHeadModel) -> None:
    """GPT-2's own distribution, drawn by numpy: torch draws other numbers on other processors."""
    generator = np.random.default_rng(0)
    for name, weights in network.named_parameters():
        if weights.dim() == 2:
            scale = 0.02 / (2 * network.config.n_layer) ** 0.5 if name.endswith("c_proj.weight") else 0.02
            weights.data.copy_(torch.from_numpy(scale * generator.standard_normal(weights.shape)))


def make() -> Path:
    """The tiny model's folder, trained if it is not there; beside it tiny-corpus.txt."""
    key = hashlib.sha256(
        Path(__file__).read_bytes() + (FACTS / "facts.csv").read_bytes() + (FACTS / "relations.csv").read_bytes()
    )
    folder, mark = CACHE / "tiny-gpt2", CACHE / "tiny-gpt2.key"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "lock"):  # tests run side by side
        if not mark.is_file() or mark.read_text() != key.hexdigest():
            make_at(folder)
            mark.write_text(key.hexdigest())
    return folder


def make_at(folder: Path) -> None:
    texts = sentences()
    tokenizer = make_tokenizer(texts)
    size = GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=128, n_layer=4, n_head=4, bos_token_id=0, eos_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    network = GPT2LMHeadModel(size).double()
    initialise(network)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(network, tokenizer, texts)
    torch.set_num_threads(threads)
    network.float().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (CACHE / "tiny-corpus.txt").write_text("\n\n".join(" . ".join(texts[i : i + 6]) for i in range(0, len(texts), 6)))


if __name__ == "__main__":
    print(make())
