"""Text to token ids with tokenizers of three kinds: an object's tokens, the subject's last, and what is refused."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

import tiny_model
from onemask.io.errors import OnemaskError
from onemask.io.placeholder import fill
from onemask.model.tokens import encode, encode_target, encode_with_subject

TEXTS = tiny_model.sentences()


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """As Llama 2's: each text begins with a blank of its own, so that " X" alone is a lone blank and "X"."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=3000, special_tokens=special, show_progress=False))
    tokenizer.pre_tokenizer = None
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def ends_its_texts() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    template = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


TOKENIZERS = {
    "byte-level": tiny_model.make_tokenizer(TEXTS),
    "sentencepiece": sentencepiece_like(),
    "with an end": ends_its_texts(),
}
kinds = pytest.mark.parametrize("kind", TOKENIZERS)


@kinds
@pytest.mark.parametrize("target", ["Japan", " Japan", "South Korea ", "Ångström", "東京"])
def test_an_objects_tokens_are_those_that_the_whole_text_has_beside_the_prompts(kind, target):
    tokenizer, prompt = TOKENIZERS[kind], "The country where Kyoto is located is"
    ids = encode(tokenizer, prompt)
    assert ids + encode_target(tokenizer, prompt, target) == encode(tokenizer, f"{prompt} {target.strip()}")
    assert tokenizer.decode(encode_target(tokenizer, prompt, target)).strip() == target.strip()


def test_no_object_begins_with_a_lone_blank():
    """Which is what " Japan" alone does with such a tokenizer, for every object."""
    tokenizer = TOKENIZERS["sentencepiece"]
    apart = tokenizer(" Japan", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(apart[0]) == "▁"
    assert encode_target(tokenizer, "It lies in", "Japan") == apart[1:]


@kinds
def test_an_object_comes_behind_the_prompt_and_not_behind_the_end_of_a_text(kind):
    tokenizer = TOKENIZERS[kind]
    assert tokenizer.eos_token_id not in encode(tokenizer, "It lies in")[1:]
    assert (encode(tokenizer, "It lies in")[0] == tokenizer.bos_token_id) == (kind != "byte-level")


@kinds
def test_a_prompt_whose_tokens_change_with_what_comes_behind_it_is_refused(kind, monkeypatch):
    tokenizer = TOKENIZERS[kind]
    monkeypatch.setattr("onemask.model.tokens.encode", lambda _, text: [len(text), *range(9 if "Japan" in text else 5)])
    with pytest.raises(OnemaskError, match="one whose tokens change with 'Japan' behind it"):
        encode_target(tokenizer, "It lies in", "Japan")


@pytest.mark.parametrize("target", ["", " ", "\u00a0"])
def test_an_object_of_no_token_is_refused(target):
    with pytest.raises(OnemaskError, match="an object of at least one token"):
        encode_target(TOKENIZERS["byte-level"], "It lies in", target)


@kinds
def test_the_text_of_a_special_token_is_refused_wherever_it_stands(kind):
    tokenizer = TOKENIZERS[kind]
    special = tokenizer.eos_token
    calls = [
        lambda: encode(tokenizer, f"{special}The capital of Norway is"),
        lambda: encode_target(tokenizer, "The capital of Norway is", special),
        lambda: encode_with_subject(tokenizer, "The capital of {} is", special),
    ]
    for call in calls:
        with pytest.raises(OnemaskError, match=f"a text without special tokens; found '{special}'".replace("|", r"\|")):
            call()


@kinds
def test_a_token_that_is_more_than_the_subject_is_not_edited(kind):
    """ "Korea" within " Korean": the token of another word."""
    tokenizer = TOKENIZERS[kind]
    whole = next(token for token in ("Korean", "French", "Japan") if len(encode_target(tokenizer, "The", token)) == 1)
    prompt, subject = "The {}" + whole[-1] + " is", whole[:-1]
    with pytest.raises(OnemaskError, match="which is more than the subject.*whole word"):
        encode_with_subject(tokenizer, prompt, subject)
    ids, place = encode_with_subject(tokenizer, "The {} is", whole)
    assert ids[place] == encode_target(tokenizer, "The", whole)[0]


WORDS = ["Kyoto", "the", "Victor Hugo", "Mount Everest", "é", "東京", "O'Neill", "U.S.", "x", "17", "ß", "\u0301", "-"]
TEXT = st.text(min_size=1, max_size=8).filter(lambda text: "{}" not in text)
PHRASES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join) | TEXT


@kinds
@given(before=st.just("") | PHRASES, subject=PHRASES, after=PHRASES, glue=st.sampled_from(["", " ", "'s "]))
def test_the_edited_token_is_the_subjects_last(kind, before, subject, after, glue):
    """For any text that holds the subject: what stands before the token is the subject's beginning, what is behind it is not."""
    tokenizer = TOKENIZERS[kind]
    prompt = f"{before} {{}}{glue}{after}" if before else f"{{}}{glue}{after}"
    assume(prompt.count("{}") == 1)
    try:
        ids, place = encode_with_subject(tokenizer, prompt, subject)
    except OnemaskError:
        return
    text, end = fill(prompt, subject), len(prompt.split("{}")[0]) + len(subject)
    spans = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    assert ids == encode(tokenizer, text)
    assert spans[place][0] < end <= spans[place][1]
    assert not any(character.isalnum() for character in text[end : spans[place][1]])
    assert all(first >= end for first, behind in spans[place + 1 : len(ids)] if behind > end)


def test_braces_of_a_subject_are_not_filled():
    assert fill("The set {} is", "x") == "The set x is" and fill("{} is", "{}") == "{} is"
    for prompt in ("no place", "{} and {}"):
        with pytest.raises(OnemaskError, match="exactly once"):
            fill(prompt, "x")
