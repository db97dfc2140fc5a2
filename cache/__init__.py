"""Accelerates diffusion models; knows no portrait. Comes with a later version."""
