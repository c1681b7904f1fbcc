"""``python -m benchmarks``: see docs/benchmarks.md."""

if __name__ == "__main__":  # not in the workers, which import this file again: a peer shall not pay for our imports
    import sys

    from .speed.program import main

    sys.exit(main())
