"""First in a list of bases: makes ``mmgcp::`` known to MMEngine, which reads one base after the other."""
__import__('mmgcp')  # an import statement would make MMEngine take this file for one of its "lazy" configs
