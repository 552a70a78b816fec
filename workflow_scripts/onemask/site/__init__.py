"""The front door: pages whose numbers, tables and settings are written from committed results and schemas."""
