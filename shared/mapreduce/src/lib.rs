//! What the author of a program sees: mappers, combiners, partitioners, reducers, records, counters.
