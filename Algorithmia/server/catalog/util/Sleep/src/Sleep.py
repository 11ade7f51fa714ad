"""Takes its time: for trying out time limits and calls in parallel."""
import time

from Algorithmia import ADK


def apply(input):
    """Sleeps for `input` seconds (a number, or text that is one) and returns them."""
    seconds = float(input)
    if not 0 <= seconds <= 3000:
        raise ValueError("the input must be a number of seconds from 0 to 3000, not %s" % input)
    time.sleep(seconds)
    return {"slept": seconds}


algorithm = ADK(apply)

if __name__ == "__main__":
    algorithm.init("0.1")
