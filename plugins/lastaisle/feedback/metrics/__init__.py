"""The figures of the shop: the table `shop_metrics`."""
