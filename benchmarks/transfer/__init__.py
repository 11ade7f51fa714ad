"""Files of all sizes up and down, beside nginx; a million of them; and transfers over connections that do harm."""
