"""Records and labels, networks, training and evaluation, all on the numbers that the device computes."""
