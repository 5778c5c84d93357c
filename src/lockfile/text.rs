//! The text form of a lockfile.
