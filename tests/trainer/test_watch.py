"""Figures of a training: peaks by device, utilisation, and the picture of the loss."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from trainer import board
from trainer.log import TrainProgress
from trainer.model import torch
from trainer.plot import loss_plot
from trainer.settings import TrainSettings
from trainer.shape import Shape
from trainer.watch import Meter, datasheet_peak, measured_peak, multiplied

CPU = torch.device("cpu")


def progress(**changed: object) -> TrainProgress:
    values = dict(
        step=1,
        steps=9,
        loss=2.5,
        learning_rate=1e-3,
        gradient_norm=1.0,
        tokens_per_second=1000.0,
        data_wait=0.0,
        seconds=1.0,
    )
    return TrainProgress(**(values | changed))


def shape(**settings: object) -> Shape:
    return Shape.of(TrainSettings(layers=2, width=16, heads=2, context=8, **settings), 50)


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H200", 989),
        ("NVIDIA B200", 2250),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10", 125),
        ("NVIDIA A10G", None),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA L40", None),
        ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA GH200 480GB", None),
        ("Tesla T4", None),
    ],
)
def test_a_peak_is_that_of_the_very_device_or_none(name: str, teraflops: float | None) -> None:
    assert datasheet_peak(name) == (None if teraflops is None else teraflops * 1e12)


def test_weights_in_products_are_those_of_layers_and_head() -> None:
    # Each layer: 4 of 16 x 16 and 3 of 16 x 64 in matrices, 2 norms; one norm at the end.
    layers = 2 * (4 * 16 * 16 + 3 * 16 * 64 + 2 * 16) + 16
    assert multiplied(shape()) == layers + 50 * 16
    assert multiplied(shape(tied=False)) == layers + 50 * 16


def test_learned_positions_are_added_and_not_multiplied() -> None:
    wide = TrainSettings(family="gpt2", layers=2, width=16, heads=2, context=8)
    long = TrainSettings(family="gpt2", layers=2, width=16, heads=2, context=800)
    assert multiplied(Shape.of(wide, 50)) == multiplied(Shape.of(long, 50))


def test_utilisation_is_what_training_needs_by_what_all_devices_could_do() -> None:
    meter = Meter(6e9, CPU, 2, {"datasheet": 1e15, "measured": 8e14})
    assert meter.utilisation(1e5) == pytest.approx({"datasheet": 0.3, "measured": 0.375})


def test_without_a_peak_there_is_no_utilisation() -> None:
    meter = Meter.of(TrainSettings(device="cpu"), 50)
    meter.measure()
    assert meter.utilisation(1e5) == {}
    assert meter.line(progress()) == "loss 2.500, 1,000 tokens/s"


def test_the_line_tells_the_speed_of_the_last_steps_and_what_is_worth_a_word() -> None:
    meter = Meter(1e6, CPU, peaks={"datasheet": 4e9})
    meter.line(progress(tokens_per_second=1000.0))
    said = meter.line(progress(tokens_per_second=3000.0, data_wait=0.02, memory=12_340_000_000))
    # Two steps of as many tokens, at 1000 and at 3000 a second: 1500 a second.
    meter.line(progress(tokens_per_second=9000.0))
    assert meter.speed == 3000  # of the median step
    assert said == "loss 2.500, 1,500 tokens/s, MFU 37.5 %, data wait 2.0 %, 12.3 GB"


def test_a_peak_is_measured() -> None:
    assert 1e6 < measured_peak(CPU, 64, 0.01) < 1e15


def test_the_loss_is_drawn_as_svg() -> None:
    drawn = ElementTree.fromstring(loss_plot([(1, 4.0), (2, 3.0), (3, 2.0)], "a < b"))
    texts = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert "a < b: 4.000 at step 1, 2.000 at step 3" in texts
    (path,) = [one for one in drawn.iter() if one.get("class") == "line"]
    points = [tuple(map(float, point.split())) for point in path.get("d", "")[1:].split("L")]
    assert [x for x, _ in points] == [0, 440, 880]
    assert points[0][1] < points[1][1] < points[2][1]


def test_a_loss_alone_is_no_line() -> None:
    assert 'class="line"' not in loss_plot([(1, 4.0)], "one")


@pytest.mark.skipif(board.INSTALLED, reason="TensorBoard is there")
def test_without_tensorboard_nothing_is_drawn_and_nothing_breaks(tmp_path: Path) -> None:
    drawn = board.Board(tmp_path, 1)
    drawn.step(progress())
    drawn.scores([{"set": "a", "step": 1, "bits_per_byte": 1.0, "macro_source": 1.0}])
    drawn.close()
    assert not list(tmp_path.iterdir())
