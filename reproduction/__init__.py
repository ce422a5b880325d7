"""The claims of the paper (Wang et al., CVPR 2020) on Imagenette: plans, trainings, tables, figures and verdicts.

Not part of the installed package: run everything here from the top folder of a checkout.
"""
