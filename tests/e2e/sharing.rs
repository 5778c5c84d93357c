//! One store for many: several users, read-only lower stores, and surroundings that must not matter.

mod lower;
mod surroundings;
mod users;
