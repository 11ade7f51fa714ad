"""Greets whoever is named in the input."""
from Algorithmia import ADK


def apply(input):
    """``"HAL 9000"`` -> ``"Hello HAL 9000"``; text and a JSON string give the same."""
    return "Hello %s" % (input,)


algorithm = ADK(apply)

if __name__ == "__main__":
    algorithm.init("HAL 9000")
