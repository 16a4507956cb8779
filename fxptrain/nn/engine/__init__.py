"""How a step runs: order, programs, blocks, storage, sinks, threads, ranks."""
