"""Instructions: what a file's records become, and which tokens of them a training learns from."""

import json
from pathlib import Path

import numpy as np
import pytest

from curate.errors import InputError
from tokenizer.encode import Encoder
from tokenizer.reference import BYTES
from tokenizer.vocabulary import Vocabulary
from trainer.data import IGNORED
from trainer.instructions import (
    Deal,
    Example,
    Fates,
    Record,
    examples_of,
    packed,
    parted,
    prompt_of,
    read,
)
from trainer.model import LanguageModel, torch
from trainer.settings import TrainSettings
from trainer.shape import Shape

END = 256
ENCODER = Encoder(
    Vocabulary(
        tokens=tuple(BYTES),
        merges=np.empty((0, 3), np.int32),
        pattern="gpt2",
        special_tokens={"<|endoftext|>": END},
    )
)


def ids(text: str) -> list[int]:
    return [BYTES.index(bytes([byte])) for byte in text.encode()]


def examples(*sizes: tuple[int, int]) -> list[Example]:
    """Examples of so many tokens of prompt and answer, the end included; all tokens differ."""
    found, token = [], 1
    for asked, answered in sizes:
        tokens = np.arange(token, token + asked + answered)
        found.append(Example(Record(0, "", ""), tokens, asked))
        token += asked + answered
    return found


def test_prompts_are_those_of_alpaca() -> None:
    assert prompt_of("Add.", "1 {2}") == (
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n1 {2}\n\n### Response:"
    )
    assert prompt_of("Sing.", " ") == (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nSing.\n\n### Response:"
    )


GOOD = {"instruction": "Add.", "input": "1 2", "output": "3"}
PLAIN = {"prompt": "a", "completion": "b"}


@pytest.mark.parametrize("shape", ["lines", "array", "indented"])
def test_records_are_read_with_the_lines_on_which_they_begin(tmp_path: Path, shape: str) -> None:
    values = [GOOD, PLAIN, {"instruction": "Sing.", "input": None, "output": "La"}]
    text, lines = {
        "lines": ("\n".join(map(json.dumps, values)) + "\n\n", [1, 2, 3]),
        "array": (json.dumps(values), [1, 1, 1]),
        "indented": ("\n" + json.dumps(values, indent=1) + "\n", [3, 8, 12]),
    }[shape]
    (tmp_path / "data").write_text("\ufeff" + text)
    fates = Fates()
    assert read(tmp_path / "data", fates) == [
        Record(lines[0], prompt_of("Add.", "1 2"), "3"),
        Record(lines[1], "a", "b"),
        Record(lines[2], prompt_of("Sing."), "La"),
    ]
    assert fates == Fates(records=3)


def test_what_cannot_be_used_is_counted_by_reason_and_line(tmp_path: Path) -> None:
    lines = [
        b'{"instruction": "no end',
        json.dumps(GOOD).encode(),
        b"\xff\xfe",
        b"7",
        json.dumps(GOOD | {"output": " \n"}).encode(),
        b'{"instruction": "a"}',
        b'{"output": "b", "instruction": ""}',
        b'{"prompt": "a", "completion": 7}',
        b'{"prompt": "a", "completion": "\\ud800"}',
        b"[" * 100_000,
    ]
    (tmp_path / "data").write_bytes(b"\n".join(lines))
    fates = Fates()
    assert [record.line for record in read(tmp_path / "data", fates)] == [2]
    assert fates.records == 10
    assert fates.dropped == {
        "not JSON": [1, 3, 10],
        "not an object": [4],
        "no output": [5, 6],
        "no instruction": [7],
        "not text": [8, 9],
    }
    assert fates.told()[0] == "dropped, not JSON: 3 (lines 1, 3, 10)"
    fates.dropped = {"no output": list(range(1, 1200))}
    assert fates.told() == ["dropped, no output: 1,199 (lines 1, 2, 3, 4, 5, ...)"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[\n{"prompt": "a", "completion": "b"},\n{"prompt"]', "record on line 3: not JSON"),
        ('[\n{"prompt": "a", "completion": "b"}\n', "record on line 2: not followed by"),
        ('[{"prompt": "a", "completion": "b"}] more', "record on line 1: not followed by"),
        ('[{"prompt": "a", "completion": "b"},]', "record on line 1: not JSON"),
    ],
    ids=["value", "end", "more", "comma"],
)
def test_an_array_that_is_broken_is_told_by_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(InputError, match=told):
        read(tmp_path / "data.json", Fates())


def test_a_file_that_is_missing_or_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "data", Fates())
    for text in ("", "[]", " [ ] \n"):
        (tmp_path / "data").write_text(text)
        fates = Fates()
        assert read(tmp_path / "data", fates) == []
        assert fates == Fates()


def test_examples_are_prompt_answer_and_end_cut_to_the_context() -> None:
    records = [Record(1, "ab", "cd"), Record(2, "ab", "cdefg"), Record(3, "abcdef", "g")]
    fates = Fates()
    first, second = examples_of(records, ENCODER, END, 5, fates)
    assert first.tokens.tolist() == [*ids("abcd"), END]
    # Six: the last is never read, but it is a target.
    assert second.tokens.tolist() == ids("abcdef"[:2] + "cdef")
    assert (first.asked, second.asked) == (2, 2)
    assert fates.cut == [2]
    assert fates.dropped == {"prompt longer than the context": [3]}
    assert len(examples_of([Record(3, "abcde", "g")], ENCODER, END, 5, fates)[0].tokens) == 6
    assert examples_of([], ENCODER, END, 5, fates) == []


def test_the_name_of_a_special_token_in_a_record_is_text() -> None:
    record = Record(1, "<|endoftext|>", "<|endoftext|>")
    (example,) = examples_of([record], ENCODER, END, 99, Fates())
    assert example.tokens.tolist() == [*ids("<|endoftext|>") * 2, END]


def test_rows_hold_examples_as_documents_of_which_answers_alone_are_learned() -> None:
    deal = Deal(examples((2, 3), (1, 2), (1, 1)), end_of_text=0)
    window = deal.rows(0, 3)
    # 1 2 | 3 4 5;  6 | 7 8;  9 | 10: four, two and one are read
    assert sorted(window.tokens.tolist()) == [[1, 2, 3, 4], [6, 7, 9, 0]]
    row = window.tokens[:, 0].tolist().index(6)
    ignored = IGNORED
    assert window.targets[1 - row].tolist() == [ignored, 3, 4, 5]
    assert window.targets[row].tolist() == [7, 8, 10, ignored]
    assert window.documents is not None
    assert np.diff(window.documents[row]).tolist() == [0, 1, 1]
    assert np.diff(window.documents[1 - row]).tolist() == [0, 0, 0]


def test_every_epoch_shows_every_example_once_in_an_order_of_its_own() -> None:
    deal = Deal(examples(*[(1, 1)] * 20), end_of_text=0, epochs=3, seed=5)

    def shown(first: int, count: int) -> list[int]:
        window = deal.rows(first, count)
        return window.targets[window.targets != IGNORED].tolist()

    epochs = [shown(20 * epoch, 20) for epoch in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(2, 42, 2))] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3
    # Any part of the training is as it is in the whole.
    assert [shown(first, 1) for first in range(60)] == [[one] for each in epochs for one in each]
    # The last step's batch is what is left, and then there is nothing.
    assert shown(56, 8) == epochs[2][16:]
    assert shown(60, 8) == []
    assert deal.epochs(30) == {"instructions": 1.5}
    assert deal.epochs(64) == {"instructions": 3.0}
    other = Deal(examples(*[(1, 1)] * 20), end_of_text=0, epochs=3, seed=6)
    assert other.digest != deal.digest
    assert other.rows(0, 20).targets.tolist() != deal.rows(0, 20).targets.tolist()


def test_held_out_examples_are_a_share_and_the_rest_is_trained_on() -> None:
    every = examples(*[(1, 1)] * 40)
    trained, tested = parted(every, 0.1, seed=0)
    assert (len(trained), len(tested)) == (36, 4)
    assert sorted(int(one.tokens[0]) for one in trained + tested) == list(range(1, 81, 2))
    others = [int(one.tokens[0]) for one in parted(every, 0.1, seed=1)[1]]
    assert others != [int(one.tokens[0]) for one in tested]


def test_packing_fills_rows_as_long_as_the_longest() -> None:
    places = packed([70, 10, 60, 20, 50, 10])
    assert places == [(0, 0), (1, 60), (1, 0), (2, 50), (2, 0), (3, 0)]
    assert packed([]) == []


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_the_loss_is_that_of_the_answers_each_read_alone(family: str) -> None:
    settings = TrainSettings(family=family, layers=2, width=32, heads=2, context=24)
    model = LanguageModel(Shape.of(settings, 61))
    model.initialize(0)
    every = examples((5, 6), (3, 2), (9, 8), (1, 4), (2, 5))
    window = Deal(every, end_of_text=0).rows(0, 5)
    assert len(window.tokens) < 5
    rows = [torch.from_numpy(np.array(part)) for part in window]
    with torch.no_grad():
        together = model.loss_sum(*rows).item()
        alone = 0.0
        for example in every:
            tokens = torch.from_numpy(example.tokens)
            nats = -model(tokens[None, :-1])[0].log_softmax(-1)
            alone += sum(
                nats[place - 1, tokens[place]].item() for place in range(example.asked, len(tokens))
            )
    assert together == pytest.approx(alone, rel=1e-5)


def test_a_prompt_gets_no_gradient_of_its_own() -> None:
    """The logits at a position whose target is ignored move no loss."""
    settings = TrainSettings(layers=1, width=32, heads=2, context=24)
    model = LanguageModel(Shape.of(settings, 61))
    model.initialize(0)
    window = Deal(examples((5, 3)), end_of_text=0).rows(0, 1)
    states = model.states(torch.from_numpy(window.tokens))
    states.retain_grad()
    logits = torch.nn.functional.linear(states, model.head)
    targets = torch.from_numpy(window.targets)
    torch.nn.functional.cross_entropy(logits[0], targets[0], ignore_index=IGNORED).backward()
    assert states.grad is not None
    felt = states.grad[0].abs().sum(1) > 0
    assert felt.tolist() == [False] * 4 + [True] * 3
