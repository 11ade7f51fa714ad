"""Calls another algorithm and returns its result: for trying out calls between algorithms."""
import Algorithmia
from Algorithmia import ADK


def apply(input):
    """``{"algo": "OWNER/NAME", "input": ...}`` -> the result of that algorithm; its failure is this one's."""
    if not isinstance(input, dict) or "algo" not in input:
        raise ValueError('the input must be {"algo": "OWNER/NAME[/VERSION]", "input": ...}')
    return Algorithmia.client().algo(input["algo"]).pipe(input.get("input")).result


algorithm = ADK(apply)

if __name__ == "__main__":
    algorithm.init({"algo": "demo/Hello", "input": "HAL 9000"})
