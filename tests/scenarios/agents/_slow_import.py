"""Stands for a library that takes long to import."""

from _fix import burn, scale

burn(0.45 * scale("plan"))
