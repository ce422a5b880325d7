"""Reads logs and measurements, returns tables and figures. Needs numpy and matplotlib, neither torch nor mm."""
