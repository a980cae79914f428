"""The `train:` section: what it refuses, and what can be read without torch."""

import subprocess
import sys

import pytest

from curate.errors import RecipeError
from trainer.presets import PRESETS
from trainer.settings import TrainSettings


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"steps": 0}, "steps: 0; it must be at least 1"),
        ({"context": -1}, "context: -1"),
        ({"preset": "llama-1"}, "preset: no 'llama-1'; did you mean llama-1b?"),
        ({"family": "bloom", "positions": "rope"}, "positions: 'rope'; bloom has alibi"),
        ({"family": "gpt2", "kv_heads": 1}, "kv_heads: 1; gpt2 has as many as heads"),
        ({"warmup": -1}, "warmup: -1"),
        ({"schedule": "linear"}, "schedule: 'linear'; write cosine or wsd"),
        ({"learning_rate": 0.0}, "learning_rate: 0.0; it must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate: nan"),
        ({"weight_decay": float("inf")}, "weight_decay: inf"),
        ({"device": "gpu"}, "device: 'gpu'; write auto, cpu or cuda"),
        ({"width": 100, "heads": 3}, "width: 100; 3 heads need an even share"),
        ({"width": 9, "heads": 3}, "width: 9; 3 heads need an even share"),
        ({"width": 96, "heads": 3, "kv_heads": 2}, "kv_heads: 2 do not divide 3 heads"),
        ({"batch": 16, "micro_batch": 3}, "micro_batch: 3 does not divide 16"),
        ({"prompt": ""}, "prompt: empty"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(
    settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(RecipeError) as error:
        TrainSettings(**settings)
    assert str(error.value).startswith(problem)


def test_settings_and_loader_need_no_torch_and_the_model_says_how_to_get_it() -> None:
    program = """
import sys
sys.modules["torch"] = None  # as if it were not installed
import trainer.settings, trainer.data
from curate.errors import CurateError
from curate.training import extra
try:
    extra("trainer.session")
except CurateError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "training needs torch: pip install 'crawl-to-model[train]'\n", done.stderr


def test_a_preset_fills_in_what_is_left_open_and_no_more() -> None:
    baichuan = TrainSettings(preset="baichuan-13b")
    assert (baichuan.positions, baichuan.hidden, baichuan.tied) == ("alibi", 13696, False)
    narrow = TrainSettings(preset="llama-1b", width=256, heads=4, tied=True)
    assert (narrow.layers, narrow.hidden, narrow.kv_heads, narrow.tied) == (22, 704, 4, True)
    assert TrainSettings(preset="gpt2-124m").hidden == 4 * 768


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_used(preset: str) -> None:
    settings = TrainSettings(preset=preset)
    assert settings.width % settings.heads == 0
