"""What is for sale: the shop's catalogue, its history, and its way from feeds into the table `items`."""
