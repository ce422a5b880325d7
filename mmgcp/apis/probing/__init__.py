"""Probes: small classifiers on the cached features of a frozen backbone."""
