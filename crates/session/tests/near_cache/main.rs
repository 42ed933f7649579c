//! The near-cache between real instances and a real Redis: nothing asked when hot, nothing accepted when ended.

mod faults;
mod races;
mod revocation;
mod support;
mod topology;
