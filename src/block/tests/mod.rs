//! Tests of the content store over a real store in a temporary directory.
