"""Work that no request waits for: telling edges of changes, keeping salts ahead, making days before they come."""
