def apply(input):
    """Answers one call. `input` is text, a JSON value or bytes, as the caller sent it; so is what this returns.

    A function `load`, if there is one, is called once before the first call.
    """
    return u"hello {}".format(input)
