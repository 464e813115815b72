"""What the shop usually does: its figures by hour, and the baseline of each measure from past weeks."""
