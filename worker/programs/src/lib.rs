//! The built-in programs, their catalogue, and a naive oracle of each.
