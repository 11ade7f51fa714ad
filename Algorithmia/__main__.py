"""`python -m Algorithmia` and the `algo` console script: hands over to the command line."""
import sys


def main():
    # type: () -> None
    """Run the command line and end the process with its exit status."""
    from .cli import main as cli_main

    sys.exit(cli_main())


if __name__ == "__main__":
    main()
