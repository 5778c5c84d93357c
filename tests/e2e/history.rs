//! Generations: `rollback`, `generations`, what holds after going back, and what a damaged history costs.

mod deletion;
mod going_back;
mod holding;
mod lost;
