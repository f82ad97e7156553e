//! The engine inside a worker: map, spill, merge, reduce, segments; knows no network.
