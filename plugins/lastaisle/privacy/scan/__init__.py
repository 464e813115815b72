"""Find personal data in texts where none belongs: e-mail, telephone, card, IP address, IBAN."""
