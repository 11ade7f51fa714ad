"""Bundled algorithms: ordinary algorithm projects, registered at first start."""
