"""``python -m neurorobust`` is the command ``neurorobust``."""

from .cli import main

if __name__ == "__main__":
    main()
