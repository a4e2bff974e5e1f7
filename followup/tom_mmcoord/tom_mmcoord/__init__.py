"""mmcoord's ranked follow-up requests in a TOM."""
