"""Where a recording may be written, and what may be replayed."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from ingest.config.model import Config
from ingest.errors import ConfigError
from ingest.recording import Recorder
from ingest.replay import Result, replay, show


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file", r"^--output .*/file is a file; name a folder that this user may write to$"),
        ("file/below", r"^--output .*/file/below cannot be used: Not a directory; name a folder"),
        ("/proc", r"^--output /proc cannot be used: "),  # takes no file, whoever asks
    ],
)
def test_a_folder_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=message):
        Recorder(tmp_path / name, "binance")


def test_nothing_is_left_in_a_folder_that_is_good(tmp_path: Path) -> None:
    Recorder(tmp_path / "new" / "folder", "binance")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_a_directory_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "rec").mkdir()
    with pytest.raises(ConfigError, match=r"/rec is a directory: name the recorded connections in it: .*/rec/\*\.ws"):
        replay(Config(), [tmp_path / "rec"], exchange=None, url=None)


def test_why_frames_were_rejected_is_shown_as_it_is() -> None:
    said = io.StringIO()
    show(Result(2, {}, {"an [unknown] stream": 1}, {"[/api/v3/ping]": 1}), Console(file=said, width=80))
    assert "ignored: an [unknown] stream" in said.getvalue()
    assert "rejected: [/api/v3/ping]" in said.getvalue()
