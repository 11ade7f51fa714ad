"""HTTP in, service call, HTTP out; nothing else lives here."""
