"""What crosses a wire: messages, codec, mailbox, links, client."""
