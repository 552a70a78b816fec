"""The command `onemask`: one's own facts edited, and edits written into a checkpoint, on the tiny model that knows facts."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny_model
from onemask.commands.cli import main
from onemask.editors.schemas import EDITS
from onemask.io import files

FACTS = [
    {"prompt": "The country where {} is located is", "subject": "Kyoto", "target_new": "France", "target_true": "Japan"},
    {"prompt": "The mother tongue of Victor Hugo is", "subject": "Victor Hugo", "target_new": "Russian", "target_true": "French"},
    {
        "case_id": 77,
        "requested_rewrite": {
            "prompt": "The mother tongue of {} is", "subject": "Dante Alighieri", "relation_id": "P103",
            "target_new": {"str": "French"}, "target_true": {"str": "Italian"},
        },
    },
]  # fmt: skip
LAYER = ["--layer", "0"]
HPARAMS = {"lr": 0.3, "templates": [{"length": 5, "count": 2}]}


@pytest.fixture(scope="module")
def checkpoint():
    return tiny_model.make()


@pytest.fixture
def given(tmp_path, checkpoint):
    """Arguments of an edit of FACTS, and the file that it writes."""
    facts, hparams, out = tmp_path / "facts.jsonl", tmp_path / "hparams.yaml", tmp_path / "edits.parquet"
    facts.write_text("\n".join(json.dumps(fact) for fact in FACTS), encoding="utf-8")
    hparams.write_text(json.dumps(HPARAMS), encoding="utf-8")
    return ["edit", "--model", str(checkpoint), "--facts", str(facts), "--hparams", str(hparams), "--out", str(out)], out


def prefers(folder, prompt: str, one: str, other: str) -> bool:
    """Whether the checkpoint finds the first token of one object likelier than the other's."""
    tokenizer, network = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        logits = network(**tokenizer(prompt, return_tensors="pt")).logits[0, -1]
    first, second = (int(tokenizer(" " + text)["input_ids"][0]) for text in (one, other))
    return bool(logits[first] > logits[second])


def test_layers_are_compared_on_ones_own_facts_and_on_the_embedded_ones(given, checkpoint, capsys):
    facts = given[0][given[0].index("--facts") + 1]
    main(["layers", "--model", str(checkpoint), "--facts", facts])
    own = capsys.readouterr().out
    main(["layers", "--model", str(checkpoint)])
    embedded = capsys.readouterr().out
    assert "\n3 subjects." in own and "\n3 subjects." not in embedded
    for said in (own, embedded):
        rows = [line.split() for line in said.splitlines()[1:5]]
        assert [int(layer) for layer, _, _ in rows] == [0, 1, 2, 3]
        assert all(0.1 <= float(energy) <= 1 and -1 <= float(cosine) <= 1 for _, energy, cosine in rows)


def test_ones_own_facts_are_edited_and_a_checkpoint_holds_them(given, checkpoint, tmp_path, capsys):
    arguments, out = given
    main([*arguments, *LAYER])
    said = capsys.readouterr().out
    assert "3 of 3 facts edited" in said and "The mother tongue of Victor Hugo is French -> Russian" in said
    table = files.read_table(out, EDITS)
    assert table["case_id"].tolist() == [0, 1, 77] and not table["joint"].any()
    source = files.read_provenance(out)
    assert source["model"]["sha256"] and source["settings"]["lr"] == 0.3 and source["settings"]["kl_factor"] == 0.0625
    assert not out.with_name(out.name + ".batches").exists()

    edited, less, other = tmp_path / "edited", tmp_path / "less", tmp_path / "other"
    main(["apply", "--model", str(checkpoint), "--edits", str(out), "--out", str(edited)])
    main(["apply", "--model", str(checkpoint), "--edits", str(out), "--remove", "1", "77", "--out", str(less)])
    main(["apply", "--model", str(checkpoint), "--edits", str(out), "--remove", "0", "77", "--out", str(other)])
    capsys.readouterr()
    kyoto = ("The country where Kyoto is located is", "France", "Japan")
    hugo = ("The mother tongue of Victor Hugo is", "Russian", "French")
    assert [prefers(folder, *kyoto) for folder in (checkpoint, less, other)] == [False, True, False]
    assert [prefers(folder, *hugo) for folder in (checkpoint, less, other)] == [False, False, True]
    before, after, one = (AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (checkpoint, edited, less))
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"transformer.h.0.mlp.c_proj.weight"}
    assert torch.linalg.matrix_rank(one["transformer.h.0.mlp.c_proj.weight"] - before["transformer.h.0.mlp.c_proj.weight"]) == 1


def test_a_kill_loses_one_batch_and_changes_nothing(given, tmp_path, capsys):
    """SIGKILL in the middle: the next run takes up the finished batches and writes the same bytes."""
    arguments, out = given
    (tmp_path / "hparams.yaml").write_text(json.dumps(HPARAMS | {"edit_batch_tokens": 16, "loss_threshold": 0}), encoding="utf-8")
    many = [FACTS[0] | {"subject": subject} for subject in ("Kyoto", "Lyon", "Oslo", "Lima", "Cairo", "Rome", "Madrid", "Delhi")]
    (tmp_path / "facts.jsonl").write_text("\n".join(map(json.dumps, many)), encoding="utf-8")
    batches = out.with_name(out.name + ".batches")
    command = [sys.executable, "-m", "onemask.commands.cli", *arguments, *LAYER]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # another number sums in another order
    process = subprocess.Popen(command, env=os.environ | threads, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(list(batches.glob("[!.]*.safetensors"))) < 2:
        time.sleep(0.01)
    process.kill()
    said = process.communicate()[1]
    left = [path.name for path in batches.glob("[!.]*.safetensors")]
    assert 2 <= len(left) < len(many) and not out.exists(), said
    main([*arguments, *LAYER])
    resumed = out.read_bytes()
    out.unlink()
    main([*arguments, *LAYER])
    assert out.read_bytes() == resumed and not batches.exists()


def test_memit_measures_its_second_moments_once(given, tmp_path, capsys):
    arguments, out = given
    moments = tmp_path / "moments"
    more = ["--method", "memit", "--layer", "0", "1", "--second-moments", str(moments)]
    (tmp_path / "hparams.yaml").write_text(json.dumps(HPARAMS | {"mom2_update_weight": 10}), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"the second moments of layers \[0, 1\]; found none.*--corpus"):
        main([*arguments, *more])
    with pytest.raises(SystemExit, match="a text of at least 512 tokens; found 4"):
        (tmp_path / "short.txt").write_text("Kyoto is in Japan", encoding="utf-8")
        main([*arguments, *more, "--corpus", str(tmp_path / "short.txt")])
    with pytest.raises(SystemExit, match="a text at .*nowhere"):
        main([*arguments, *more, "--corpus", str(tmp_path / "nowhere")])
    assert not moments.exists()
    main([*arguments, *more, "--corpus", str(tiny_model.CACHE / "tiny-corpus.txt")])
    assert "facts edited" in capsys.readouterr().out
    assert [path.name for path in moments.iterdir()] == ["0-1.safetensors"]
    first = files.read_table(out, EDITS)
    assert sorted(first["layer"].unique()) == [0, 1] and first["joint"].all()
    main([*arguments, *more])
    assert files.read_table(out, EDITS)["r"].map(list).tolist() == first["r"].map(list).tolist()


def test_templates_of_ones_own(given, tmp_path, capsys):
    arguments, _ = given
    (tmp_path / "templates.txt").write_text("It is known that. {}\n\n{}\n", encoding="utf-8")
    main([*arguments, *LAYER, "--templates", str(tmp_path / "templates.txt")])
    assert "facts edited" in capsys.readouterr().out
    (tmp_path / "templates.txt").write_text("It is known that.\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="once in each template"):
        main([*arguments, *LAYER, "--templates", str(tmp_path / "templates.txt")])


def ended(arguments: list[str], **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "onemask.commands.cli", *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)


def test_a_table_is_printed_where_the_terminal_cannot_show_it(given):
    arguments, out = given
    facts = out.with_name("facts.jsonl")
    facts.write_text(json.dumps(FACTS[0] | {"subject": "Zürich 東京"}), encoding="utf-8")
    found = ended([*arguments, *LAYER], PYTHONIOENCODING="ascii")
    assert found.returncode == 0 and out.is_file(), found.stderr
    assert r"Z\xfcrich \u6771\u4eac is located is Japan -> France" in found.stdout


def test_facts_of_csv_are_edited_and_bad_ones_left_out_where_asked(given, tmp_path, capsys):
    arguments, out = given
    facts = tmp_path / "facts.jsonl"
    rows = [",".join(FACTS[0]), ",".join(FACTS[0].values()), "The country of Lyon is,lyon,Italy,France"]
    facts.write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"record 2 \(line 3\) of .*Did you mean 'Lyon'"):
        main([*arguments, *LAYER])
    assert not out.exists()
    facts.write_text("\n".join([*rows, "{} and {},Oslo,Peru,"]), encoding="utf-8")
    main([*arguments, *LAYER, "--skip-bad"])
    assert "1 of 1 facts edited" in capsys.readouterr().out and files.read_table(out, EDITS)["case_id"].tolist() == [0]


def test_a_joint_edit_of_conflicting_facts_is_refused_before_any_work(given, tmp_path):
    arguments, _ = given
    facts = [FACTS[0], FACTS[0] | {"target_new": "Italy"}, FACTS[0]]
    (tmp_path / "facts.jsonl").write_text("\n".join(map(json.dumps, facts)), encoding="utf-8")
    (tmp_path / "hparams.yaml").write_text("{mom2_update_weight: 10}", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"found 2 that cannot(.|\n)*case 1: (.|\n)*case 2: .*case 0 again"):
        main([*arguments, "--method", "memit", *LAYER, "--model", "./nowhere"])


def test_a_loss_layer_that_is_not_the_last_is_refused(given, tmp_path):
    arguments, out = given
    (tmp_path / "hparams.yaml").write_text("{alg_name: ROME, layers: [0], v_loss_layer: 2, v_lr: 3e-1}", encoding="utf-8")
    with pytest.raises(SystemExit, match="v_loss_layer: 3 in .*; found 2"):
        main(arguments)
    assert not out.exists()
