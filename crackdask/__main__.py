"""``python -m crackdask`` is the command line."""

from crackdask.cli import main

if __name__ == "__main__":
    main()
