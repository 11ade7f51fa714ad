from Algorithmia import ADK


def apply(input):
    """Answers one call. `input` is text, a JSON value or bytes, as the caller sent it; so is what this returns.

    What `load` returns is given to an `apply` that takes a second argument.
    """
    return "hello {}".format(input)


# Work that is done once, before the first call, such as reading a model, goes into a function of its own:
# ADK(apply, load).
algorithm = ADK(apply)

if __name__ == "__main__":
    # On a platform this answers calls until there are no more; started by you, it answers this one.
    algorithm.init("Algorithmia")
