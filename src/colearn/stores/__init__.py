"""Store drivers: where the weights live, by digest."""
