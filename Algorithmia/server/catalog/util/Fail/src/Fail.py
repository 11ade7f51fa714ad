"""Fails, in the way that the input asks for: for trying out how a program copes."""
from Algorithmia import ADK
from Algorithmia.errors import AlgorithmException


def apply(input):
    """Text is the message; an object may have ``message`` and ``error_type``. Never returns."""
    options = input if isinstance(input, dict) else {"message": input}
    message = str(options.get("message") or "this algorithm always fails")
    if options.get("error_type"):
        raise AlgorithmException(message, error_type=options["error_type"])
    raise Exception(message)


algorithm = ADK(apply)

if __name__ == "__main__":
    algorithm.init("on purpose")
