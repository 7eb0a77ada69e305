//! Whole volumes are clean, and every kind of damage is found, by its number and with its names.

mod clean;
mod damage;
mod volume;
