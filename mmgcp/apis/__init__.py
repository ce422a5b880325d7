"""Train, test and measure networks: the functions behind the command-line tools."""
