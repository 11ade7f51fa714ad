"""HTTP on other cores: gateway processes parse and write it, and pass requests to the platform's process.

`process.py` is a gateway, which does what `forwarding.py` says; `borrowing.py` and `borrowed.py` make calls with
workers that it is lent. In the platform's process, `streams.py` answers what comes from a gateway; `supervisor.py`
starts gateways and starts them anew; `distributor.py` gives them connections. `frames.py` is what they say to each
other.
"""
