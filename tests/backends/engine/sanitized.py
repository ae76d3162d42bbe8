"""A plugin of pytest: the engine's tests run on the libraries in the folder that is named here."""

import os
from pathlib import Path

from tinybuddy.backends.engine import library

library.FOLDER = Path(os.environ["TINYBUDDY_SANITIZED"])
