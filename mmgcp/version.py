"""The version of mmgcp, read by setup.cfg and by ``mmgcp.__version__``."""
__version__ = '0.1.0'
