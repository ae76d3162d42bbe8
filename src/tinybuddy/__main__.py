"""``python -m tinybuddy``."""

import sys

from tinybuddy.cli import main

sys.exit(main())
