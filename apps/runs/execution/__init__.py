"""The execution API (`/execution`): the only way in which workers and tasks reach the server.

Reading order: `asgi` (HTTP in, parking) → `exchange` (one call of a worker) → `reports` (a try ended) → `brain.advance`
→ `orders` (what a try needs to start). `doors` is the other door, for runners that live for one try; `data` is what task
code may ask. Wire shapes: `trackside.core.messages`.
"""
