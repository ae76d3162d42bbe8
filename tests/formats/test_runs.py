from __future__ import annotations

from pathlib import Path

import pytest

from tinybuddy.errors import TinybuddyError
from tinybuddy.formats.references import find_directory


@pytest.mark.parametrize("latest", ["", "..", "1\0", "a", "\u0663"])
def test_latest_must_name_a_checkpoint(tmp_path: Path, latest: str):
    (tmp_path / "latest").write_text(latest, "utf-8")
    with pytest.raises(TinybuddyError, match="names no checkpoint"):
        find_directory(tmp_path)
