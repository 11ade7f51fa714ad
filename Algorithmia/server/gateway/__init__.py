"""HTTP on other cores: gateway processes parse and write it, and pass requests to the platform's process.

`process.py` is a gateway, which does what `forwarding.py` says; `streams.py` answers what comes from one, in the
platform's process; `supervisor.py` starts gateways and starts them anew; `distributor.py` gives them connections;
`frames.py` is what they say to each other.
"""
