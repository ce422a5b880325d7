"""What commands do: training, testing, and measurements of trained networks."""
