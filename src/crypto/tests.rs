//! Tests of the ciphers: what they promise here, and published answers in `known`.

mod keyset;
mod known;
