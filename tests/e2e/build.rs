//! `build`: from a preference to an environment that works and is active.

mod backends;
mod interpreters;
mod key_hit;
mod leaving_out;
mod locked;
mod offline;
mod preference;
mod reproducible;
mod structure;
mod timings;
