//! The wire: generated messages and services, and their conversion to domain types.
