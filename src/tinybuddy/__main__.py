"""``python -m tinybuddy``, and the command ``tinybuddy``."""

import sys


def run() -> int:
    """Run the command line; Ctrl-C is quiet from here on, before anything else is imported."""
    try:
        from tinybuddy.cli import main

        return main()
    except KeyboardInterrupt:
        print("tinybuddy: stopped.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run())
