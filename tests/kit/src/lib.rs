//! Faults and checkers that the tests of every layer share.
//!
//! [`proxy`] breaks the network between two processes, [`lossy_fs`] takes the
//! power from a disk, [`small_disk`] is soon full, [`failpoints`] lets a process
//! die between two steps, [`linearize`] says whether what clients saw could have
//! happened one step at a time, [`moto`] is an object store. Each fault counts what
//! it did, so that a test can prove that its fault took place: a fault that did not
//! happen is a failed test, not a passed one.
//!
//! Nothing here knows the product. What a test of the product needs from it,
//! the test brings along.

pub mod dice;
pub mod failpoints;
pub mod linearize;
pub mod lossy_fs;
pub mod moto;
pub mod proxy;
pub mod small_disk;
