//! The test support tested by itself: what it makes is what real clients accept, and its faults really happen.

mod faults;
mod indexes;
mod wheels;
mod worlds;
