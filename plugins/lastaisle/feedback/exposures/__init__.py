"""What was shown: files and topics into the table `exposures`."""
