"""The platform on this machine beside another server: start to first answer, memory at rest."""
