"""The seam to Solana: one protocol, a real node behind it or a chain in memory.

`base` says what retainer asks of a chain, `rpc` asks a node over JSON-RPC, `fake` is a chain in memory with faults on
demand, `anchor` reads sessions through the IDL with anchorpy. Nothing outside speaks to a node, and no foreign error
leaves this package.
"""
