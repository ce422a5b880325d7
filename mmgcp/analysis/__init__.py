"""Tables and figures from logs and measurements. Needs numpy and matplotlib, neither torch nor OpenMMLab."""
