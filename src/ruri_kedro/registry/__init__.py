"""The evidence: tracking, provenance, registered models."""
