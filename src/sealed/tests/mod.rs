//! What sealing promises of records.

mod records;
